/**
 * What a server can beyond the reference, and what of a request may be sent to it.
 *
 * Features belong to one connection: they are what the answer to its first `Version` named, and a request is held against
 * those of the connection that carries it.
 */
import { extensions, type Feature, type Request, type Response } from "../protocol/Protocol.ts"

/** What a server names that takes one request for each connection, as the reference. */
export const none: ReadonlySet<Feature> = new Set()

/** The features that an answer to `Version` names. */
export const named = (response: Response): ReadonlySet<Feature> =>
  response.Status !== "Version" || response.Features === undefined
    ? none
    // A feature that is not known here is never asked about.
    : new Set(response.Features.split(",") as Array<Feature>)

const isKnown = (features: ReadonlySet<Feature>, needed: Feature | undefined): boolean =>
  needed === undefined || features.has(needed)

/**
 * Whether a request may be sent where these are the features. Without `release` a server would take an `Unlock` with a
 * `Fence` for one without, and end a tenure that is not meant; and what the last actions are is unknown to a server without them.
 */
export const allow = (features: ReadonlySet<Feature>, { Action, Fence, Heir, Limit, Within }: Request): boolean =>
  isKnown(features, extensions[Action]) &&
  (Fence === undefined || features.has("release")) && (Heir === undefined || features.has("heir")) &&
  (Limit === undefined || features.has("permits")) &&
  (Within === undefined || features.has("deadlock"))

/** Whether a request waits at a server that knows `Wait`: for a lock, or for a change of what it knows. */
export const waits = ({ Action, Revision, Wait }: Request): boolean =>
  Wait !== undefined && Wait > 0 &&
  (Action === "Lock" || (Action === "Describe" && Revision !== undefined) || Action === "Log")

/** A request as it is sent where `wait` is not named. */
export const withoutWait = ({ Wait: _, ...request }: Request): Request => request
