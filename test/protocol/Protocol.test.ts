import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Result, Schema } from "effect"
import { Protocol, Wire } from "effect-dlm/protocol"

const maxDepth = 32

/** Reads text as a request, as if it had come as a line. */
const read = (json: string) => Protocol.decodeRequest(Wire.encodeLine(json).subarray(0, -1), maxDepth)

const lock = { ID: "A", FileName: "f", Action: "Lock", Expire: "30" }

/** A request with some fields replaced, its values as raw JSON, so that what `JSON.stringify` cannot write is possible. */
const raw = (fields: Record<string, string>): string => {
  const all: Record<string, string> = {
    ...Object.fromEntries(Object.entries(lock).map(([key, value]) => [key, JSON.stringify(value)])),
    ...fields
  }
  return `{${Object.entries(all).map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(",")}}`
}

const refused = (json: string | Uint8Array) => {
  const result = typeof json === "string" ? read(json) : Protocol.decodeRequest(json, maxDepth)
  const { Status, problem } = Result.getOrThrow(Result.flip(result))
  return `${Status} ${problem}`
}

/** What can be compared: the secret is hidden, and JSON has no -0. */
const comparable = (request: Protocol.Request) => ({
  ...request,
  Expire: request.Expire + 0,
  ...(request.Wait === undefined ? {} : { Wait: request.Wait + 0 }),
  ...(request.Identity === undefined ? {} : { Identity: Redacted.value(request.Identity) })
})

describe("encodeRequest and decodeRequest", () => {
  it.effect.prop("give any request back", [Protocol.Request], ([request]) =>
    Effect.sync(() => {
      const line = Protocol.encodeRequest(request)
      assert.strictEqual(line.indexOf(0x0a), line.length - 1)
      const decoded = Result.getOrThrow(Protocol.decodeRequest(line.subarray(0, -1), maxDepth))
      assert.deepStrictEqual(comparable(decoded), comparable(request))
    }))

  it.effect.prop(
    "do not mind the order of the keys",
    [Protocol.Request, Schema.Array(Schema.Finite)],
    ([request, order]) =>
      Effect.sync(() => {
        const json = Result.getOrThrow(Wire.decodeLine(Protocol.encodeRequest(request).subarray(0, -1)))
        const fields = Object.entries(JSON.parse(json)).map((field, i) => ({ field, at: order[i] ?? 0 }))
        const shuffled = fields.toSorted((a, b) => a.at - b.at).map(({ field }) => field)
        assert.deepStrictEqual(
          comparable(Result.getOrThrow(read(JSON.stringify(Object.fromEntries(shuffled))))),
          comparable(request)
        )
      })
  )

  it("writes the time as a string, as the reference's clients do", () => {
    const line = Protocol.encodeRequest({ ID: "A", FileName: "f", Action: "Lock", Expire: 2.5 })
    const json = Result.getOrThrow(Wire.decodeLine(line.subarray(0, -1)))
    assert.deepStrictEqual(JSON.parse(json), { ID: "A", FileName: "f", Action: "Lock", Expire: "2.5" })
  })

  it("writes the secret, and never shows it otherwise", () => {
    const request: Protocol.Request = {
      ID: "A",
      FileName: "f",
      Action: "Lock",
      Expire: 1,
      Name: "alice",
      Identity: Redacted.make("the secret")
    }
    const json = Result.getOrThrow(Wire.decodeLine(Protocol.encodeRequest(request).subarray(0, -1)))
    assert.strictEqual(JSON.parse(json).Identity, "the secret")
    const decoded = Result.getOrThrow(read(json))
    assert.notInclude(JSON.stringify(decoded), "the secret")
    assert.notInclude(String(decoded.Identity), "the secret")
  })

  it("takes a null DataStore for an absent one", () => {
    assert.deepStrictEqual(read(raw({ DataStore: "null" })), read(raw({})))
    assert.isFalse("DataStore" in Result.getOrThrow(read(raw({ DataStore: "null" }))))
  })

  it("ignores fields that it does not know, those of JavaScript's own objects included", () => {
    const extra = { Future: "{\"a\":[1,2]}", __proto__x: "1", constructor: "1", toString: "null" }
    assert.deepStrictEqual(read(raw(extra)), read(raw({})))
    const polluting = read(`{"__proto__":{"DataStore":"x","polluted":true},${raw({}).slice(1)}`)
    assert.deepStrictEqual(polluting, read(raw({})))
    assert.isFalse("polluted" in {})
  })

  it("reads the extensions", () => {
    const extended = Result.getOrThrow(read(raw({ Seq: "\"7\"", Wait: "\"1000\"" })))
    assert.deepStrictEqual([extended.Seq, extended.Wait], ["7", 1000])
    for (const bad of [{ Seq: "7" }, { Seq: `"${"7".repeat(33)}"` }, { Wait: "1000" }, { Wait: "\"soon\"" }]) {
      assert.isTrue(Result.isFailure(read(raw(bad))))
    }
  })

  it("takes no field from anywhere but the line", () => {
    assert.strictEqual(
      refused("{\"__proto__\":{\"ID\":\"A\",\"FileName\":\"f\",\"Action\":\"Lock\",\"Expire\":1}}"),
      "BadPayload Fields"
    )
  })
})

describe("Action", () => {
  it("is read in any case", () => {
    for (const action of Protocol.Action.literals) {
      const mixed = [...action].map((letter, i) => i % 2 === 0 ? letter.toLowerCase() : letter.toUpperCase()).join("")
      for (const written of [action, action.toLowerCase(), action.toUpperCase(), mixed]) {
        assert.strictEqual(Result.getOrThrow(read(raw({ Action: JSON.stringify(written) }))).Action, action)
      }
    }
  })

  it("is BadAction where it is unknown", () => {
    for (const action of ["Steal", "", " Lock", "Lock\u0000", "constructor", "__proto__", "hasOwnProperty"]) {
      assert.strictEqual(refused(raw({ Action: JSON.stringify(action) })), "BadAction Action")
    }
  })

  it("is BadPayload where it is no string, or where another field is wrong as well", () => {
    for (const action of ["1", "null", "true", "[\"Lock\"]", "{}"]) {
      assert.strictEqual(refused(raw({ Action: action })), "BadPayload Fields")
    }
    assert.strictEqual(refused(raw({ Action: "\"Steal\"", Expire: "\"abc\"" })), "BadPayload Fields")
  })
})

describe("Expire", () => {
  const accepted: ReadonlyArray<readonly [string, number]> = [
    ["30", 30],
    ["2.5", 2.5],
    ["-5", -5],
    ["1e2", 100],
    ["0", 0],
    ["\"30\"", 30],
    ["\"2.5\"", 2.5],
    ["\"1e2\"", 100],
    ["\"1E+2\"", 100],
    ["\" 7 \"", 7],
    ["\"\\t7\\n\"", 7],
    ["\"+7\"", 7],
    ["\"-5\"", -5],
    ["\"7.\"", 7],
    ["\".5\"", 0.5],
    ["\"007\"", 7]
  ]
  for (const [json, seconds] of accepted) {
    it(`is read from ${json}`, () => {
      assert.strictEqual(Result.getOrThrow(read(raw({ Expire: json }))).Expire, seconds)
    })
  }

  const wrong = [
    "\"\"",
    "\" \"",
    "\"abc\"",
    "\"nan\"",
    "\"NaN\"",
    "\"inf\"",
    "\"-inf\"",
    "\"Infinity\"",
    "\"-Infinity\"",
    "\"1e999\"",
    "\"-1e999\"",
    "1e999",
    "-1e999",
    "\"0x10\"",
    "\"1 2\"",
    "\"1e\"",
    "\".\"",
    "\"--1\"",
    "\"1,5\"",
    "null",
    "true",
    "false",
    "[]",
    "[30]",
    "{}"
  ]
  for (const json of wrong) {
    it(`is refused as ${json}`, () => {
      assert.strictEqual(refused(raw({ Expire: json })), "BadPayload Fields")
    })
  }

  it("is no JSON as a bare nan or inf", () => {
    for (const json of ["nan", "NaN", "inf", "Infinity", "-Infinity"]) {
      assert.strictEqual(refused(raw({ Expire: json })), "BadPayload Json")
    }
  })

  // A pattern that can match a digit in two ways takes minutes for this, with everybody else waiting.
  it("is refused at once, however long it is", () => {
    const many = "1".repeat(200_000)
    for (const json of [`"${many}x"`, `"${many}.${many}x"`, `"1e${many}x"`, `"1${" ".repeat(200_000)}x"`]) {
      assert.strictEqual(refused(raw({ Expire: json })), "BadPayload Fields")
    }
  })
})

describe("a line that is no request", () => {
  it("is told from its encoding", () => {
    for (const line of ["1", "{\"ID\":\"A\"}", "hello", "28", "ag\r"]) {
      assert.strictEqual(refused(Buffer.from(line, "latin1")), "BadPayload Encoding")
    }
  })

  it("is told from its JSON", () => {
    for (const json of ["", " ", "no json", "{", raw({}).slice(0, -1), `${raw({})}${raw({})}`, "{'ID':1}"]) {
      assert.strictEqual(refused(json), "BadPayload Json")
    }
  })

  it("is told from its fields: each is required, and of its type", () => {
    for (const json of ["123", "null", "true", "\"text\"", "[]", "[1,2]", "{}"]) {
      assert.strictEqual(refused(json), "BadPayload Fields")
    }
    for (const key of ["ID", "FileName", "Action", "Expire"]) {
      const { [key]: _, ...rest } = Object.fromEntries(Object.entries(lock))
      assert.strictEqual(refused(JSON.stringify(rest)), "BadPayload Fields")
    }
    for (const key of ["ID", "FileName", "DataStore", "Name", "Identity"]) {
      for (const value of ["1", "true", "[]", "{}", "[\"A\"]"]) {
        assert.strictEqual(refused(raw({ [key]: value })), "BadPayload Fields")
      }
    }
    for (const key of ["ID", "FileName", "Name", "Identity"]) {
      assert.strictEqual(refused(raw({ [key]: "null" })), "BadPayload Fields")
    }
  })

  it("shows no part of itself in the error", () => {
    const json = raw({ Name: "\"alice\"", Identity: "\"the secret\"", Expire: "\"the wrong time\"" })
    const error = Result.getOrThrow(Result.flip(read(json)))
    for (const shown of [error.message, String(error), JSON.stringify(error), error.stack ?? ""]) {
      assert.notInclude(shown, "the secret")
      assert.notInclude(shown, "the wrong time")
    }
  })

  it.effect.prop("never throws, whatever bytes come", [
    Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })))
  ], ([numbers]) =>
    Effect.sync(() => {
      const bytes = Uint8Array.from(numbers)
      assert.isTrue(Result.isFailure(Protocol.decodeRequest(bytes, maxDepth)))
      assert.isTrue(Result.isFailure(Protocol.decodeResponse(bytes)))
      // Rightly encoded, they get further in.
      const encoded = Buffer.from(Wire.encodeBytes(bytes), "latin1")
      assert.isTrue(Result.isFailure(Protocol.decodeRequest(encoded, maxDepth)))
      assert.isTrue(Result.isFailure(Protocol.decodeResponse(encoded)))
    }))

  it.effect.prop("never throws, whatever JSON comes", [Schema.Json], ([value]) =>
    Effect.sync(() => {
      const line = Wire.encodeLine(JSON.stringify(value)).subarray(0, -1)
      assert.isTrue(Result.isFailure(Protocol.decodeRequest(line, maxDepth)))
      assert.isTrue(Result.isFailure(Protocol.decodeResponse(line)))
    }))

  it.effect.prop("never throws, whatever the fields are", [
    Schema.Record(Schema.Literals(["ID", "FileName", "Action", "Expire", "DataStore", "Name", "Identity"]), Schema.Json)
  ], ([value]) =>
    Effect.sync(() => {
      const result = read(JSON.stringify(value))
      const flat = Object.values(value).every((field) => typeof field !== "object" || field === null)
      if (Result.isSuccess(result)) assert.isTrue(flat)
    }))
})

describe("values", () => {
  it("may be a thousand, and the rest of the line is not even parsed", () => {
    const withValues = (values: number, end = "]}") =>
      read(`{"ID":"x","FileName":"f","Action":"Lock","Expire":1,"Pad":[${"0,".repeat(values - 5)}0${end}`)
    assert.isTrue(Result.isSuccess(withValues(1000)))
    for (const end of ["]}", "", "]} and no JSON"]) {
      const refused = withValues(1001, end)
      assert.isTrue(Result.isFailure(refused) && refused.failure.problem === "Depth")
    }
    // Commas within text are none.
    assert.isTrue(
      Result.isSuccess(read(`{"ID":"x","FileName":"f","Action":"Lock","Expire":1,"Pad":"${",".repeat(5000)}"}`))
    )
  })
})

describe("depth", () => {
  /** A request with an unknown field that nests so deep that its innermost bracket is at `depth`. */
  const nested = (depth: number, open = "[", close = "]") =>
    raw({ Future: `${open.repeat(depth - 1)}${close.repeat(depth - 1)}` })

  it("is allowed up to the bound, and not beyond", () => {
    assert.isTrue(Result.isSuccess(read(nested(maxDepth))))
    assert.strictEqual(refused(nested(maxDepth + 1)), "BadPayload Depth")
    const objects = (depth: number) => raw({ Future: `${"{\"a\":".repeat(depth - 1)}1${"}".repeat(depth - 1)}` })
    assert.isTrue(Result.isSuccess(read(objects(maxDepth))))
    assert.strictEqual(refused(objects(maxDepth + 1)), "BadPayload Depth")
  })

  it("is a matter of nesting, not of how many brackets there are", () => {
    assert.isTrue(Result.isSuccess(read(raw({ Future: `[${"[],".repeat(900)}[]]` }))))
  })

  it("does not count brackets in strings, whatever they escape", () => {
    const brackets = "[{".repeat(100)
    for (const string of [brackets, `\\"${brackets}`, `\\\\\\"${brackets}`, `${brackets}\\\\`, `\\u0022${brackets}`]) {
      assert.isTrue(Result.isSuccess(read(raw({ FileName: `"${string}"`, Future: "[1]" }))))
    }
    // The quotation mark after an escaped backslash ends its string, so what follows does count.
    const ended = raw({ Wait: "\"\\\\\"", Future: `${"[".repeat(maxDepth)}${"]".repeat(maxDepth)}` })
    assert.strictEqual(refused(ended), "BadPayload Depth")
  })

  it("is refused in a known field, too", () => {
    for (const key of ["ID", "FileName", "Action", "Expire", "DataStore", "Identity"]) {
      const problem = refused(raw({ [key]: `${"[".repeat(100)}${"]".repeat(100)}` }))
      assert.strictEqual(problem, "BadPayload Depth")
    }
  })

  it("10 MiB of brackets are answered", () => {
    const many = 10 * 1024 * 1024
    assert.include(["BadPayload Json", "BadPayload Depth"], refused("[".repeat(many)))
    assert.strictEqual(refused("[".repeat(many / 2) + "]".repeat(many / 2)), "BadPayload Depth")
    assert.include(["BadPayload Json", "BadPayload Depth"], refused("{\"a\":".repeat(many / 5)))
  })
})

describe("encodeResponse and decodeResponse", () => {
  const readAnswer = (json: string) => Protocol.decodeResponse(Wire.encodeLine(json).subarray(0, -1))
  const bad = (line: Uint8Array) => {
    const { problem, received } = Result.getOrThrow(Result.flip(Protocol.decodeResponse(line)))
    return { problem, received }
  }

  it.effect.prop("give any answer back", [Protocol.Response], ([response]) =>
    Effect.sync(() => {
      const line = Protocol.encodeResponse(response)
      assert.strictEqual(line.indexOf(0x0a), line.length - 1)
      assert.deepStrictEqual(Protocol.decodeResponse(line.subarray(0, -1)), Result.succeed(response))
    }))

  it("do not mind the order of the keys, nor fields that they do not know", () => {
    assert.deepStrictEqual(
      readAnswer("{\"DataStore\":\"x\",\"Fence\":\"7\",\"ID\":\"A\",\"Status\":\"Done\"}"),
      Result.succeed({ Status: "Done" as const, ID: "A", DataStore: "x" })
    )
  })

  it("tells what is no answer, and what was read", () => {
    assert.deepStrictEqual(bad(Buffer.from("HTTP/1.1 400 Bad Request")), {
      problem: "Encoding",
      received: "HTTP/1.1 400 Bad Request"
    })
    assert.deepStrictEqual(bad(new Uint8Array()), { problem: "Json", received: "" })
    for (
      const [problem, json] of [
        ["Json", "hello"],
        ["Json", "{\"Status\":"],
        ["Fields", "null"],
        ["Fields", "[]"],
        ["Fields", "{}"],
        ["Fields", "{\"Status\":\"Stolen\"}"],
        ["Fields", "{\"Status\":\"locked\",\"ID\":\"…\"}"],
        ["Fields", "{\"Status\":7}"],
        ["Fields", "{\"Status\":\"Locked\"}"],
        ["Fields", "{\"Status\":\"Locked\",\"ID\":null}"],
        ["Fields", "{\"Status\":\"Version\"}"],
        ["Fields", "{\"Status\":\"Done\",\"ID\":\"…\",\"DataStore\":null}"]
      ] as const
    ) {
      assert.deepStrictEqual(bad(Wire.encodeLine(json).subarray(0, -1)), { problem, received: json })
    }
    assert.include(Result.getOrThrow(Result.flip(readAnswer("hello"))).message, "hello")
  })

  it("bounds what it tells", () => {
    for (const length of [200, 201, 100_000]) {
      const long = "é".repeat(length)
      const { received } = bad(Wire.encodeLine(long).subarray(0, -1))
      assert.strictEqual(received, length > 200 ? `${"é".repeat(200)}…` : long)
    }
  })
})

describe("excerpt", () => {
  it("is the text itself, up to 200 characters", () => {
    assert.strictEqual(Protocol.excerpt(""), "")
    assert.strictEqual(Protocol.excerpt("x".repeat(200)), "x".repeat(200))
    assert.strictEqual(Protocol.excerpt(Buffer.from("x".repeat(200))), "x".repeat(200))
    assert.strictEqual(Protocol.excerpt(Buffer.from("héllo")), "héllo")
  })

  it("is cut after 200 characters, and says so", () => {
    assert.strictEqual(Protocol.excerpt("x".repeat(201)), `${"x".repeat(200)}…`)
    assert.strictEqual(Protocol.excerpt(Buffer.from("x".repeat(201))), `${"x".repeat(200)}…`)
  })

  it("shows bytes that are no text as what they are not", () => {
    assert.strictEqual(Protocol.excerpt(Uint8Array.of(0x61, 0xff, 0x62)), "a\ufffdb")
  })

  it.effect.prop("is never longer than that, whatever was read", [
    Schema.Union([Schema.String, Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })))])
  ], ([read]) =>
    Effect.sync(() => {
      const long = typeof read === "string"
        ? Protocol.excerpt(read.repeat(50))
        : Protocol.excerpt(Uint8Array.from(Array.from({ length: 50 }, () => read).flat()))
      assert.isAtMost(long.length, 201)
    }))
})
