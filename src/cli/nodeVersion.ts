/**
 * Which Node the command runs on.
 */

/** What is wrong with a version of Node: the command would start on an older one, and fail at what that lacks. */
export const nodeProblem = (version: string): string | undefined => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > 22 || (major === 22 && minor >= 19)
    ? undefined
    : `dlm: needs Node 22.19 or later, and this is Node ${version}`
}
