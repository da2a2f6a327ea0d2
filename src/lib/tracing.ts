/**
 * Spans that cost nothing where no tracer looks at them.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"

const isTraced = (context: Context.Context<never>): boolean =>
  context.mapUnsafe.has(Tracer.Tracer.key) || context.mapUnsafe.has(Tracer.ParentSpan.key)

/** A span around what is asked of a name, if a tracer was installed or there is a span that it would be a part of. */
export const withSpan = (span: string, { name }: { readonly name: string }) =>
<A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    isTraced(fiber.context)
      ? Effect.withSpan(self, span, { attributes: { name } }) as Effect.Effect<A, E, R>
      : self
  )
