/**
 * Spans that cost nothing where no tracer looks at them.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"

type AnyFiber = Fiber.Fiber<unknown, unknown>

// A default tracer is none that was installed. The fiber has both at hand, where a context would have to be searched.
const isTraced = ({ cache }: AnyFiber): boolean => cache.tracer !== undefined || cache.span !== undefined

/** The span that a fiber is in, if there is one. */
export const spanOf = ({ cache }: AnyFiber): Tracer.AnySpan | undefined => cache.span

/** Tells the present span more, if there is one. */
export const annotate = (attributes: () => Readonly<Record<string, unknown>>): Effect.Effect<void> =>
  Effect.withFiber((fiber) => isTraced(fiber) ? Effect.annotateCurrentSpan(attributes()) : Effect.void)

/** Notes in the present span, if there is one, that something usual has happened. */
export const event = (name: string, attributes: () => Readonly<Record<string, unknown>>): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const span = spanOf(fiber)
    if (span?._tag === "Span") {
      span.event(name, fiber.getRef(Clock.Clock).currentTimeNanosUnsafe(), attributes())
    }
    return Effect.void
  })

/** Notes in a span that something has happened: now, or at another time, in nanoseconds since 1970. */
export const note = (
  span: Tracer.Span,
  clock: Clock.Clock,
  name: string,
  attributes: Readonly<Record<string, unknown>>,
  at: bigint = clock.currentTimeNanosUnsafe()
): void => span.event(name, at, attributes)

/** A span around what is asked of a name, if a tracer was installed or there is a span that it would be a part of. */
export const withSpan = (span: string, { name }: { readonly name: string }) =>
<A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    isTraced(fiber)
      ? Effect.withSpan(self, span, { attributes: { name } }) as Effect.Effect<A, E, R>
      : self
  )
