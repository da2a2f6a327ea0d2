/**
 * What programs have found that is not mended yet. Each is kept with its smallest program in regressions.json, where the
 * test says so once it is mended; until then the random programs pass over what it explains.
 */
import { Programs } from "effect-dlm/testing"

const has = (
  program: Programs.Program,
  outer: (step: Programs.Step) => boolean,
  inner: (step: Programs.Step) => boolean
) => Programs.stepsOf(program).some((step) => outer(step) && Programs.allSteps(Programs.bodyOf(step)).some(inner))

const holds = ({ op }: Programs.Step) => op === "hold" || op === "holdAll"

const isAcquire = (step: Programs.Step) => step.op === "hold" && step.way === "acquire"

const isLeftBehind = (step: Programs.Step) =>
  step.op === "fork" && step.leftBehind && Programs.allSteps(step.body).some(holds)

const hasWideMargin = (step: Programs.Step) => step.op === "hold" && (step.margin ?? 0) > 3_000

const open: Readonly<Record<string, (violation: Programs.Violation, program: Programs.Program) => boolean>> = {
  "detach within the body that it ends waits for that body": ({ rule, what }, program) =>
    (rule === "leftovers" || what.includes("Infinity")) &&
    has(program, holds, (step) => step.op === "lease" && step.action === "detach"),
  "a scope that ends a lease within a body that was left behind waits for that body": ({ rule, what }, program) =>
    (rule === "leftovers" || what.includes("Infinity")) && has(program, holds, isAcquire),
  "what an ended section left behind is not excluded from the next section": ({ rule }, program) =>
    rule === "sections" && has(program, holds, isLeftBehind),
  "a fiber goes on under its lease that only what it left behind holds still": ({ rule, what }, program) =>
    (rule === "order" || what.includes("not held for it") || what.includes("Expired before its body began")) &&
    has(program, holds, isLeftBehind) &&
    has(program, holds, isAcquire),
  "the wait of a nested call begins anew when the lease around it is over": ({ rule, what }, program) =>
    rule === "bounds" && what.includes("waited") && has(program, holds, isLeftBehind),
  "in the line of a process, behind one that queues at the server, nothing is known": ({ rule, what }) =>
    rule === "failure" && what.includes("AnswerTimeout"),
  "with a wide margin what was queued for is lost as it is granted": ({ rule, what }, program) =>
    rule === "failure" && /LeaseLost:Expired (before|after a wait of \d{3,} ms)/.test(what) &&
    Programs.stepsOf(program).some(hasWideMargin),
  "a wait that begins as a machine wakes up loses the time of its suspension": ({ rule }, { faults }) =>
    (rule === "patience" || rule === "evidence") && faults.some(({ kind }) => kind === "suspend"),
  "a suspension shorter than a second is not seen at the end of a body": ({ rule }, { faults }) =>
    rule === "loss" && faults.some((fault) => fault.kind === "suspend" && fault.for < 1_200),
  "taking up a lease waits for a Talker that does not listen to interruption": ({ rule, what }, { faults }) =>
    rule === "interruption" && what.startsWith("resume") && faults.some(({ kind }) => kind === "deaf"),
  "under a lease that was taken up, the name is another's": ({ rule }, program) =>
    rule === "evidence" && has(program, ({ op }) => op === "resume", holds)
}

/** The open finding that explains a violation, if one does. */
export const explanation = (violation: Programs.Violation, program: Programs.Program): string | undefined =>
  Object.keys(open).find((name) => open[name]!(violation, program))
