/**
 * How long things may take, in milliseconds, by what is promised: what the rules of the oracle share.
 */

/** By how much a wait may last longer than its time. */
export const grace = 2_000

/** How long a release is waited for, and an answer before it, after a jump of the wall clock. */
export const releasePatience = 3_000

/** How long after all faults what is tried again may still be there: between two tries are five seconds at the most. */
export const insists = 8_000

/** How long a process that closes waits for what goes on behind. */
export const drain = 5_000

/** How long after a suspension a client may still look, and ask, before it tells a body. */
export const afterSuspension = 2_200

/** How long after its server forgot all a client may still hold what was its own. */
export const afterForgetting = 6_000

/** By how much a wall clock may run ahead without a suspicion. */
export const jumpTolerance = 1_000
