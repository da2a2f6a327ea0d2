/**
 * What a store keeps as the label of a tenure: the label, and behind it the span of the holder, where that was told.
 *
 * Stores know labels, and nothing of spans, and so stay as they are. What is told of a tenure is split again here, so that
 * nobody sees the text that is kept. What has no span behind it is a label as it is, also where an older version wrote it.
 */
import * as patterns from "../protocol/patterns.ts"
import type { Request } from "../protocol/Protocol.ts"

/** Between a label and a span. No label has it that came here. */
const separator = "\u0001"

/** In the place of a label that was not given: an empty one is another thing. */
const unlabelled = separator

/** The separator, a trace, a hyphen, and a span. */
const behindLabel = separator.length + 32 + 1 + 16

/** The request without what would be taken for more than its label: one control character, in whose place nothing stands. */
export const plain = (request: Request): Request => {
  const { Label } = request
  return Label === undefined || !Label.includes(separator)
    ? request
    : { ...request, Label: Label.replaceAll(separator, "") }
}

/** What is kept of a request for a lock: nothing where it says neither a label nor a span. */
export const keptOf = ({ Label, Trace }: Pick<Request, "Label" | "Trace">): string | undefined =>
  Trace === undefined ? Label : `${Label ?? unlabelled}${separator}${Trace}`

// Where the label ends, if a span is behind it.
const endOf = (kept: string): number | undefined => {
  const end = kept.length - behindLabel
  return end >= 0 && kept[end] === separator && patterns.trace.test(kept.slice(end + 1)) ? end : undefined
}

const before = (kept: string, end: number): string | undefined => {
  const label = kept.slice(0, end)
  return label === unlabelled ? undefined : label
}

/** The label of what is kept, if there is one. */
export const labelOf = (kept: string | undefined): string | undefined => {
  const end = kept === undefined ? undefined : endOf(kept)
  return end === undefined ? kept : before(kept!, end)
}

/** The span of what is kept, if there is one. */
export const traceOf = (kept: string | undefined): string | undefined => {
  const end = kept === undefined ? undefined : endOf(kept)
  return end === undefined ? undefined : kept!.slice(end + 1)
}

/** What is public of what is kept. */
export const toldOf = (kept: string | undefined): { readonly Label?: string; readonly Trace?: string } => {
  if (kept === undefined) return {}
  const end = endOf(kept)
  if (end === undefined) return { Label: kept }
  const Label = before(kept, end)
  const Trace = kept.slice(end + 1)
  return Label === undefined ? { Trace } : { Label, Trace }
}
