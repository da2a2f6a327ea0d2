/**
 * A port as it stands in a variable.
 */
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"

/** The greatest port there is. */
export const maxPort = 65_535

// Kubernetes tells the pods of a namespace where its Services are, as Docker's links did: by `DLM_PORT` of one named `dlm`.
const isAddress = (text: string): boolean => /^(?:tcp|udp|sctp):\/\//.test(text)

const ofKubernetes = ". Kubernetes sets it so for a Service named dlm: rename the Service, or say " +
  "enableServiceLinks: false or another DLM_PORT in the pod"

/** A whole number from `minimum` to 65535. What Kubernetes puts there for a Service is refused with what to do. */
export const portText = (minimum: 0 | 1) =>
  Schema.String.check(
    Schema.makeFilter((text) =>
      (/^\d{1,5}$/.test(text) && Number(text) >= minimum && Number(text) <= maxPort) ||
      `Expected a whole number from ${minimum} to ${maxPort}${isAddress(text) ? ofKubernetes : ""}`
    )
  ).pipe(
    Schema.decodeTo(Schema.Int, {
      decode: SchemaGetter.transform(Number),
      encode: SchemaGetter.transform(String)
    })
  )
