/**
 * Certificates for tests, made by openssl.
 */
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const openssl = (folder: string, ...args: ReadonlyArray<string>) =>
  execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] })

const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

/** Makes in a folder an authority, a certificate of it for 127.0.0.1, and one for a client: their files in PEM. */
export const make = (folder: string) =>
  Effect.sync(() => {
    const at = (file: string) => path.join(folder, file)
    const authority = (name: string) => {
      openssl(
        folder,
        "req",
        "-x509",
        ...key,
        "-keyout",
        `${name}.key`,
        "-out",
        `${name}.pem`,
        "-subj",
        `/CN=${name}`,
        "-days",
        "2"
      )
    }
    const signed = (name: string, by: string, extension: string) => {
      fs.writeFileSync(at(`${name}.ext`), extension)
      openssl(folder, "req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`)
      openssl(
        folder,
        "x509",
        "-req",
        "-in",
        `${name}.csr`,
        "-CA",
        `${by}.pem`,
        "-CAkey",
        `${by}.key`,
        "-CAcreateserial",
        "-out",
        `${name}.pem`,
        "-days",
        "2",
        "-extfile",
        `${name}.ext`
      )
      return { cert: at(`${name}.pem`), key: at(`${name}.key`) }
    }
    authority("authority")
    authority("stranger")
    return {
      ca: at("authority.pem"),
      server: signed("server", "authority", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
      client: signed("client", "authority", "extendedKeyUsage=clientAuth"),
      /** A client's, of an authority that nobody trusts. */
      foreign: signed("foreign", "stranger", "extendedKeyUsage=clientAuth"),
      foreignCa: at("stranger.pem")
    }
  })
