/**
 * A time that is left, as a person reads it.
 */
import * as Duration from "effect/Duration"

/** In whole seconds, and never less than there is: `4m 58s`. */
export const wholeSeconds = (duration: Duration.Duration): string =>
  Duration.format(Duration.seconds(Math.ceil(Duration.toSeconds(duration))))
