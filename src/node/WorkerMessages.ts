/**
 * What a process of a server and its workers say to one another.
 */

/** A worker listens: what it says of itself. */
export interface Listening {
  readonly _tag: "Listening"
  /** Where it listens, which is the same of all. */
  readonly listening: string
  readonly store: string
  /** Which of several servers they are, and the digest of the list. */
  readonly shard: string | undefined
}

/** A worker ends without having listened, and says why instead of printing it. */
export interface Failed {
  readonly _tag: "Failed"
  readonly status: number
  readonly error: string
  readonly message: string
}

/** What a worker is asked, with what it answers. */
export interface Questions {
  /** Its metrics, in the text format of Prometheus. */
  readonly metrics: string
  /** Whether it can grant locks. */
  readonly isReady: boolean
}

/** A worker is asked something. */
export interface Question {
  readonly id: number
  readonly about: keyof Questions
}

/** It answers. */
export interface Answer {
  readonly _tag: "Answer"
  readonly id: number
  readonly answer: Questions[keyof Questions]
}

/** All that a worker says. */
export type FromWorker = Listening | Failed | Answer

/** The variable by which a process knows that it is a worker, which one, and on which port it is to listen. */
export const variable = "DLM_WORKER"
