/**
 * What the fuzzer begins with: all that was recorded, all that the schema allows, and what a hand has thought of.
 */
import { Arbitrary, Effect, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Protocol from "../../../src/protocol/Protocol.ts"

type Json = Record<string, unknown>

interface Recorded {
  readonly steps: ReadonlyArray<{ readonly send?: Json; readonly raw?: string; readonly recv?: Json }>
}

const recorded: ReadonlyArray<Recorded> = fs.readFileSync(
  path.join(import.meta.dirname, "../../fixtures/exchanges.jsonl"),
  "utf8"
).trimEnd().split("\n").map((line) => JSON.parse(line))

const steps = recorded.flatMap(({ steps }) => steps)

/** The requests of the recordings, as JSON. */
export const requests: ReadonlyArray<string> = steps.flatMap(({ send }) =>
  send === undefined ? [] : JSON.stringify(send)
)

/** The lines of the recordings that are no JSON, with their ends. */
export const lines: ReadonlyArray<Buffer> = steps.flatMap(({ raw }) =>
  raw === undefined ? [] : Buffer.from(raw, "latin1")
)

/** The identities that were proved in the recordings. */
export const identities = ["alice", "bob"].map((Name) => ({
  Name,
  Identity: String(
    steps.find(({ recv, send }) => send?.["Name"] === Name && recv?.["Status"] !== "BadPayload")!.send!["Identity"]
  ),
  MaxSize: 65536
}))

/** Some of all requests that the schema allows, as JSON. */
export const sampled = (seed: number, count: number): Effect.Effect<ReadonlyArray<string>, Arbitrary.SampleError> =>
  Arbitrary.sampleEffect(Arbitrary.schema(Protocol.Request), { seed, count, size: 12 }).pipe(
    Effect.map((requests) => requests.map((request) => JSON.stringify(encodeRequest(request))))
  )

const encodeRequest = Schema.encodeSync(Protocol.Request)

/** Numbers, or what looks like one, as JSON. */
export const numbers: ReadonlyArray<string> = [
  "0",
  "-0",
  "1",
  "30",
  "3543",
  "3543.0000001",
  "0.0001",
  "5e-324",
  "1e308",
  "1e309",
  "1e400",
  "-1e400",
  "1e-400",
  "9007199254740993",
  "1".repeat(400),
  "0." + "0".repeat(400) + "1",
  "1E+2",
  "01",
  "1.",
  ".5",
  "+1",
  "0x10",
  "NaN",
  "Infinity",
  "-Infinity",
  ...[
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e400",
    "-1e400",
    "-0",
    " 30 ",
    "\t30\n",
    "３０",
    "1_000",
    "0x1E",
    "1e",
    "e1",
    "+30"
  ]
    .map((text) => JSON.stringify(text)),
  ...[
    "30\u00a0",
    "\u202830",
    "\ufeff30",
    "30\0",
    "",
    " ",
    "1".repeat(5000),
    "0".repeat(5000) + "x",
    "1e1e1",
    "--1",
    "1,5"
  ]
    .map((text) => JSON.stringify(text))
]

/** Texts, as JSON: also such as no decent program writes. */
export const texts: ReadonlyArray<string> = [
  ...[
    "",
    " ",
    "f",
    "honest",
    "\0",
    "a\0b",
    "\ufeff",
    "\ufefff",
    "../../etc/passwd",
    "__proto__",
    "constructor",
    "toString"
  ]
    .map((text) => JSON.stringify(text)),
  ...[
    "ключ",
    "鍵",
    "🔑",
    "e\u0301",
    "\u202e",
    "\u2028\u2029",
    "\r\n",
    "x".repeat(512),
    "x".repeat(513),
    "鍵".repeat(200)
  ]
    .map((text) => JSON.stringify(text)),
  ...["x".repeat(16384), "x".repeat(16385), "\\".repeat(300), "\"".repeat(300), "[".repeat(100), "{\"a\":".repeat(50)]
    .map((text) => JSON.stringify(text)),
  "\"\\ud800\"",
  "\"\\udc00\\ud800\"",
  "\"a\\ud83d\"",
  "\"\\u0000\"",
  "\"\\u00e9\\/\\b\\f\"",
  "\"\\x41\"",
  "\"\\u12\"",
  "\"\t\"",
  "\"a",
  "'f'"
]

/** Other values, as JSON. */
export const values: ReadonlyArray<string> = [
  "null",
  "true",
  "false",
  "[]",
  "{}",
  "[\"Lock\"]",
  "{\"ID\":\"A\"}",
  "[".repeat(31) + "]".repeat(31),
  "[".repeat(32) + "]".repeat(32),
  "[".repeat(5000) + "]".repeat(5000),
  "{\"a\":".repeat(1000) + "1" + "}".repeat(1000),
  "[".repeat(20000),
  "[" + "1,".repeat(5000) + "1]",
  "[" + "{},".repeat(3000) + "{}]",
  "{\"__proto__\":{\"Action\":\"Lock\"}}",
  "{\"toJSON\":1,\"then\":1,\"constructor\":{\"prototype\":{}}}",
  "",
  "undefined",
  ",",
  "/* */ 1"
]

/** The names of fields: those of requests, of answers, and those that JavaScript makes much of. */
export const keys: ReadonlyArray<string> = [
  ["ID", "FileName", "Action", "Expire", "DataStore", "Name", "Identity", "Seq", "Wait", "Status", "Fence"],
  ["After", "Count", "Reason", "Force", "Within", "Trace", "Notices"],
  ["Features", "id", "action", "__proto__", "constructor", "prototype", "toString", "valueOf", "then", "toJSON", ""],
  ["length", "0", "_tag", "\\u0049D", "ID\\u0000", "k".repeat(300)]
].flat()

/** What requests ask for, and what is near it. */
export const actions: ReadonlyArray<string> = [
  ["Lock", "Unlock", "TestLock", "Put", "Get", "Erase", "Version", "lock", "LOCK", "lOcK", "ERASE", "put", "get"],
  ["Describe", "List", "Revoke", "Log", "list", "REVOKE"],
  ["Steal", "", " Lock", "Lock ", "Lock\0", "Loc\u212a", "__proto__", "constructor", "toString", "hasOwnProperty"]
].flat()

/** Whole texts before they are encoded. */
export const documents: ReadonlyArray<string> = [
  "",
  " ",
  "123",
  "null",
  "[]",
  "{}",
  "\"text\"",
  "{\"Seq\":\"1\"",
  "{\"Seq\":\"1\"}",
  "\ufeff{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\"}",
  "\u00a0{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\"}",
  "\v{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\"}\f",
  " \t\r\n{ \"ID\" :\n\"A\", \"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\"} \r\n",
  "{\"ID\":\"A\",\"ID\":\"B\",\"FileName\":\"f\",\"FileName\":\"g\",\"Action\":\"Get\",\"Action\":\"Lock\",\"Expire\":30}",
  "{\"__proto__\":{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\"}}",
  "{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\"}{\"ID\":\"A\"}",
  "{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\",}",
  "{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\",\"Wait\":\"1e400\",\"Seq\":\"1\"}",
  "{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\",\"Wait\":\"1e300\",\"Seq\":\"1\"}",
  "{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\",\"Wait\":\"-5\",\"Seq\":\"\"}",
  "{\"ID\":\"B\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":1e-320,\"Wait\":\"100\",\"Seq\":\"\\ud800\"}",
  "{\"ID\":\"\",\"FileName\":\"\",\"Action\":\"Lock\",\"Expire\":\"30\"}"
]

/** Bytes that were never encoded. */
export const raw: ReadonlyArray<Buffer> = [
  ...[
    "",
    "\n",
    "\r\n",
    "\r",
    "\n\n\n",
    "\r\r\n",
    "a",
    "a\n",
    "ag",
    "ag\n",
    "28\n",
    "zZ\n",
    "zz\n",
    "\0\0\n",
    " \n",
    "11 \n"
  ]
    .map((text) => Buffer.from(text, "latin1")),
  Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
  Buffer.concat(Array.from({ length: 256 }, (_, byte) => Buffer.of(byte, byte, 10))),
  Buffer.concat(Array.from({ length: 256 }, (_, byte) => Buffer.of(0x31, byte, 10))),
  Buffer.alloc(1000, "\n"),
  Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
  Buffer.from("{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":\"30\"}\n")
]
