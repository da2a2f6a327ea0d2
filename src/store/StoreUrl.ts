/**
 * What the URLs of all stores have in common. How each is written is said in the room of its store.
 */
import * as Result from "effect/Result"
import { StoreUrlError } from "../StoreError.ts"

/** How a URL with a password in it is written. */
export const withPassword = (form: string): string =>
  `${form}, and what is no letter or digit in a password as %40 for @`

/** Whether what is escaped in it can be read. */
export const isDecodable = (text: string): boolean => Result.isSuccess(Result.try(() => decodeURIComponent(text)))

/** Whether a URL of one host can be read, and what is escaped in it. A `#` would cut off a password, and what follows. */
export const isReadable = (text: string): boolean => URL.canParse(text) && !text.includes("#") && isDecodable(text)

/** Refuses a URL, and says how it is written. */
export const malformed = (store: string, form: string, option = "url"): StoreUrlError =>
  new StoreUrlError({ store, option, form })
