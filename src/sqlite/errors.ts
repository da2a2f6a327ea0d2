/**
 * What SQLite refuses, and why.
 */
import * as fs from "node:fs"

/** https://www.sqlite.org/rescode.html */
const codes = { busy: 5, readOnly: 8, corrupt: 11, notADatabase: 26 }

// The low byte is the kind; what is above it says more about where.
const isCode = (error: unknown, code: number): boolean =>
  error instanceof Error && "errcode" in error && (Number(error.errcode) & 0xff) === code

/** Whether SQLite refused because another connection is writing, so that the same will do in a moment. */
export const isBusy = (error: unknown): boolean => isCode(error, codes.busy)

/** Others use the file, and see it elsewhere. For a moment it seems so too while another opens it. */
export class UsedElsewhere extends Error {
  readonly errcode = codes.busy
  constructor(file: string, cause: unknown) {
    super(
      `${file} is used by a process that sees it elsewhere, or its -wal was removed. Give both the whole folder, by one ` +
        `path; where the -wal was removed, end all processes that use the file first`,
      { cause }
    )
  }
}

const isFolder = (file: string): boolean => {
  try {
    return fs.statSync(file).isDirectory()
  } catch {
    return false
  }
}

/** Why the file cannot be used, and what to do about it. */
export const whyNotOpened = (file: string, error: unknown): Error => {
  if (isCode(error, codes.notADatabase)) {
    return new Error(`${file} is not a SQLite database: choose another file`, { cause: error })
  }
  if (isCode(error, codes.corrupt)) {
    return new Error(`${file} is damaged: restore it, or move it away to begin with an empty one`, { cause: error })
  }
  if (isCode(error, codes.readOnly)) {
    return new Error(`${file} can only be read: allow this process to write to it and to its folder`, { cause: error })
  }
  if (isFolder(file)) {
    return new Error(`${file} is a folder: name a file in it`, { cause: error })
  }
  return new Error(`${file} cannot be opened: ${error instanceof Error ? error.message : error}`, { cause: error })
}
