/**
 * What each answer of the page says beside its content: what it may load, and who may have it.
 */
import * as HttpServerResponse from "effect/http/HttpServerResponse"

/** Nothing from anywhere but this server, nothing inline, and no place in another page. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'"
].join("; ")

const headers = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  // What it shows is of now, and not for whoever uses the browser next.
  "cache-control": "no-store"
}

/** An answer with all of these. */
export const guarded = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.setHeaders(response, headers)

/** A page. */
export const html = (text: string, status = 200): HttpServerResponse.HttpServerResponse =>
  guarded(HttpServerResponse.text(text, { status, contentType: "text/html; charset=utf-8" }))

/** One line for a person, or a program. */
export const plain = (status: number, text: string): HttpServerResponse.HttpServerResponse =>
  guarded(HttpServerResponse.text(`${text}\n`, { status, contentType: "text/plain; charset=utf-8" }))
