/**
 * The dialog by which a tenure is revoked. The proof is read when it is sent, and kept nowhere: what was chosen or typed is
 * taken back whenever the dialog closes.
 */
import { find, foreign, say } from "./dom.ts"
import { serverNow } from "./ServerClock.ts"
import { duration } from "./time.ts"
import type { HolderTold, Revoking, RevokingDone } from "./Told.ts"

/** The secret in the file of an identity, or the text itself where it is no such file. */
export const proofOf = (text: string): string => {
  try {
    const { Identity } = JSON.parse(text) as { readonly Identity?: unknown }
    if (typeof Identity === "string") return Identity
  } catch {
    // It is the secret alone.
  }
  return text.trim()
}

const send = async (asked: Revoking): Promise<RevokingDone> => {
  try {
    const response = await fetch("/revoke", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(asked),
      cache: "no-store",
      redirect: "error"
    })
    if (response.headers.get("content-type")?.startsWith("application/json")) {
      return await response.json() as RevokingDone
    }
    return { isDone: false, says: `The server refused it (${response.status}).` }
  } catch {
    return { isDone: false, says: "The server did not answer. Whether it was revoked is not known: look at the name." }
  }
}

/** Makes the dialog of a name's page, and gives what opens it for a tenure. */
export const makeRevoking = (name: string): (holder: HolderTold) => void => {
  const dialog = find<HTMLDialogElement>("#revoke")
  const form = find<HTMLFormElement>("#revoke form")
  const file = find<HTMLInputElement>("#identity-file")
  const identity = find<HTMLInputElement>("#identity-name")
  const proof = find<HTMLTextAreaElement>("#identity-proof")
  const reason = find<HTMLInputElement>("#reason")
  const force = find<HTMLInputElement>("#force")
  const submit = find<HTMLButtonElement>("#revoke-submit")
  const answer = find("#revoke-answer")
  let meant: HolderTold = {}

  file.addEventListener("change", () => {
    const chosen = file.files?.[0]
    if (chosen !== undefined) identity.value = chosen.name.replace(/\.cfg$/, "")
  })
  force.addEventListener("change", () => say(submit, force.checked ? "Free it now" : "Revoke"))
  dialog.addEventListener("close", () => form.reset())
  find("#revoke-cancel").addEventListener("click", () => dialog.close())
  form.addEventListener("submit", async (event) => {
    event.preventDefault()
    submit.disabled = true
    say(answer, "")
    const text = file.files?.[0] === undefined ? proof.value : await file.files[0].text()
    const done = await send({
      name,
      ...(meant.fence === undefined ? {} : { fence: meant.fence }),
      identity: identity.value.trim(),
      proof: proofOf(text),
      reason: reason.value,
      force: force.checked
    })
    submit.disabled = false
    if (!done.isDone) return say(answer, done.says)
    dialog.close()
    say(find("#done"), done.says)
  })

  return (holder) => {
    meant = holder
    say(answer, "")
    say(submit, "Revoke")
    const { endsAt, label } = holder
    find("#revoke-what").replaceChildren(
      label === undefined ? "A holder without a label" : foreign(label),
      " holds ",
      foreign(name),
      endsAt === undefined ? "." : `, for ${duration(endsAt - serverNow())} unless it is renewed.`
    )
    dialog.showModal()
  }
}
