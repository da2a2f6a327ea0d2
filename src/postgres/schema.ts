/**
 * What the store keeps in the database, and the function there that does its
 * one operation.
 *
 * All of it is in one schema. A change of it is a further migration; a
 * function that servers of an older version call is never changed, so that
 * they can go on beside newer ones.
 */
import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { defaultEscape } from "effect/sql/Statement"

const quoted = defaultEscape("\"")
const literal = (text: string): string => text.replaceAll("'", "''")
const migrator = Migrator.make({})

// Any number, but everywhere the same. They keep our advisory locks apart from those of others.
const migrating = 7_203_144_711
const changing = 7_203_144_712

// The names of entries are locked by an advisory lock, and not by their rows: a name that is free has none, and two
// transactions that write it at once could get their revisions in another order than the name. Each statement of the
// function sees what was committed before it began, so what the transaction did that had that lock before.
// The clock is that of now, and not of the begin of the transaction, which may have waited for that lock.
const entries = (name: string, schema: string): ReadonlyArray<string> => [
  `CREATE TABLE ${schema}.entries (
  name text COLLATE "C" PRIMARY KEY,
  owner text NOT NULL,
  identity text,
  data text,
  fence bigint NOT NULL,
  revision bigint NOT NULL,
  expires_at timestamptz NOT NULL,
  waited text
) WITH (fillfactor = 70)`,
  `COMMENT ON TABLE ${schema}.entries IS
  'Locks of effect-dlm. In its texts \\\\ is a backslash, \\0 is NUL, and \\ud800 is a surrogate that is alone.'`,
  `CREATE SEQUENCE ${schema}.revisions`,
  attempt(name, schema, "attempt_v1", { parameters: "", fits: "", fence: "coalesce(fence, revision)" })
]

// The second version also compares the fence of an owner's entry, and may begin a tenure over an entry.
const second = {
  parameters: "present_fence bigint, begins boolean,",
  fits: "AND (present_fence IS NULL OR fence = present_fence)",
  fence: "CASE WHEN begins THEN revision ELSE coalesce(fence, revision) END"
}

const fences = (name: string, schema: string): ReadonlyArray<string> => [attempt(name, schema, "attempt_v2", second)]

// The third version also keeps who has a tenure, and tells it. The older functions leave these columns as they are when
// they write over an entry, also over one that has expired, so what is there is true of one tenure only.
const third = {
  ...second,
  parameters: `${second.parameters} new_label text,`,
  results: ", OUT label text, OUT since float8",
  variables: `
  e_label text;
  e_since timestamptz;`,
  read: `,
    CASE WHEN t.holder_fence = t.fence THEN t.label END, CASE WHEN t.holder_fence = t.fence THEN t.since END`,
  into: ", e_label, e_since",
  written: `,
      CASE WHEN begins OR fence IS NULL THEN new_label ELSE coalesce(new_label, e_label) END,
      CASE WHEN begins OR fence IS NULL THEN clock_timestamp() ELSE e_since END,
      ${second.fence}`,
  overwritten: `,
      label = excluded.label, since = excluded.since, holder_fence = excluded.holder_fence`,
  told: `
      label := e_label;
      since := extract(epoch FROM e_since) * 1000;`
}

const holders = (name: string, schema: string): ReadonlyArray<string> => [
  `ALTER TABLE ${schema}.entries ADD COLUMN label text, ADD COLUMN since timestamptz, ADD COLUMN holder_fence bigint`,
  `COMMENT ON COLUMN ${schema}.entries.holder_fence IS
  'The fence of the tenure that label and since are about. Of any other, neither is known.'`,
  attempt(name, schema, "attempt_v3", third)
]

const clock = "date_part('epoch', clock_timestamp()) * 1000"

// The fourth version also tells the clock, leaves all as it is where its time has passed while it waited for the lock, and
// tells of a write that makes room, which it is given as 'Frees'. Who waited is told once: told, it asks again, which sets
// its mark anew, and finds what was freed between the two. Where it tells what is there, it reads the clock last: with what
// that still had to live it makes no earlier end.
// Each statement of its own costs a microsecond or two in each transaction, so there is none more for a mutex.
const fourth = (name: string): Version & { readonly frees: NonNullable<Version["frees"]> } => ({
  ...third,
  parameters: `${third.parameters} valid_until float8,`,
  results: `${third.results}, OUT clock float8`,
  locked: (lock) => `clock := CASE WHEN ${lock} IS NULL THEN NULL ELSE ${clock} END;`,
  late: `
    WHEN clock > valid_until THEN 'Late'`,
  frees: (write) => `
  ELSIF made = 'Frees' THEN
    told := e_waited;
    e_waited := NULL;
${write}
    IF told IS NOT NULL THEN
      PERFORM pg_notify('${literal(name)}', wanted);
    END IF;`,
  told: `${third.told}
      clock := ${clock};`
})

const deadlines = (name: string, schema: string): ReadonlyArray<string> => [
  attempt(name, schema, "attempt_v4", fourth(name))
]

// The fifth version also writes over an entry that is to keep its end, which it is given as 'Keeps'.
const ends = (name: string, schema: string): ReadonlyArray<string> => [
  attempt(name, schema, "attempt_v5", {
    ...fourth(name),
    frees: (write, keeping) =>
      `${fourth(name).frees(write, keeping)}
  ELSIF made = 'Keeps' THEN
${keeping}
    expires_in := extract(epoch FROM e_expires_at - clock_timestamp()) * 1000;`
  })
]

/** What a version of the function does besides the first. */
interface Version {
  /** What it is given. */
  readonly parameters: string
  /** How an owner's entry must fit. */
  readonly fits: string
  /** The fence that is written. */
  readonly fence: string
  /** What it answers. */
  readonly results?: string
  /** What it reads of an entry, and into which variables. */
  readonly variables?: string
  readonly read?: string
  readonly into?: string
  /** What it writes, for an entry and over one. */
  readonly written?: string
  readonly overwritten?: string
  /** How it tells of an entry. */
  readonly told?: string
  /** How it takes the lock of the name, as an expression it costs no query of its own. */
  readonly locked?: (lock: string) => string
  /** When it does nothing. */
  readonly late?: string
  /** What else it does that writes: until its time to live has passed, or until the end of what was there. */
  readonly frees?: (write: string, keeping: string) => string
}

/** What a version is given, what it answers, and its variables. */
const declared = (
  schema: string,
  version: string,
  { parameters, results = "", variables = "" }: Version
): string =>
  `CREATE FUNCTION ${schema}.${version}(
  wanted text, waits text,
  if_absent text, if_present text, present_owner text, present_identity text, present_revision bigint,
  new_owner text, new_identity text, new_data text, ttl float8, ${parameters}
  OUT made text, OUT fence bigint, OUT revision bigint, OUT expires_in float8,
  OUT owner text, OUT identity text, OUT data text, OUT told text${results}
) LANGUAGE plpgsql AS $function$
DECLARE
  alone boolean;
  e_owner text;
  e_identity text;
  e_data text;
  e_expires_at timestamptz;
  e_waited text;${variables}
`

const lasting = "clock_timestamp() + ttl * interval '1 millisecond'"

/** How a version writes an entry, until then. */
const writing = (schema: string, { fence, overwritten = "", written = "" }: Version, until = lasting): string =>
  `    revision := nextval('${literal(schema)}.revisions');
    INSERT INTO ${schema}.entries AS t VALUES (
      wanted, new_owner, new_identity, new_data, ${fence}, revision,
      ${until}, e_waited${written}
    ) ON CONFLICT ON CONSTRAINT entries_pkey DO UPDATE SET
      owner = excluded.owner, identity = excluded.identity, data = excluded.data, fence = excluded.fence,
      revision = excluded.revision, expires_at = excluded.expires_at, waited = excluded.waited${overwritten};`

/** A version of the function. Its text is kept in the database, so that of an older one never changes here. */
const attempt = (name: string, schema: string, version: string, its: Version): string => {
  const {
    fits,
    frees = () => "",
    into = "",
    late = "",
    locked = (lock) => `alone := ${lock} IS NULL;`,
    read = "",
    told = ""
  } = its
  const write = writing(schema, its)
  return `${declared(schema, version, its)}BEGIN
  -- As an expression it costs no query of its own.
  ${locked(`pg_advisory_xact_lock(hashtextextended(wanted, ${changing}))`)}
  SELECT t.owner, t.identity, t.data, t.fence, t.revision, t.expires_at, t.waited${read}
    INTO e_owner, e_identity, e_data, fence, revision, e_expires_at, e_waited${into}
    FROM ${schema}.entries AS t WHERE t.name = wanted AND t.expires_at > clock_timestamp();
  made := CASE${late}
    WHEN NOT FOUND THEN if_absent
    WHEN revision = present_revision THEN if_present
    WHEN e_owner = present_owner AND e_identity IS NOT DISTINCT FROM present_identity AND e_data IS NULL ${fits}
      THEN if_present
  END;
  IF made = 'Write' THEN
${write}
  ELSIF made = 'Remove' THEN
    DELETE FROM ${schema}.entries AS t WHERE t.name = wanted;
    told := e_waited;
    IF told IS NOT NULL THEN
      PERFORM pg_notify('${literal(name)}', wanted);
    END IF;${frees(write, writing(schema, its, "e_expires_at"))}
  ELSIF fence IS NOT NULL THEN
    expires_in := extract(epoch FROM e_expires_at - clock_timestamp()) * 1000;
    IF made IS NULL THEN
      owner := e_owner;
      identity := e_identity;
      data := e_data;${told}
      IF waits IS NOT NULL AND e_waited IS DISTINCT FROM waits AND e_waited IS DISTINCT FROM 'many' THEN
        UPDATE ${schema}.entries AS t SET waited = CASE WHEN e_waited IS NULL THEN waits ELSE 'many' END
          WHERE t.name = wanted;
      END IF;
    END IF;
  END IF;
END
$function$`
}

/** The statements of a store, and what makes its schema. */
export interface Schema {
  /**
   * Does to an entry what is to be done if there is none, or if there is one of an owner, without data, or of a
   * revision. Its one row says which of them was done, if any, with the fence that the entry had, if there was one.
   */
  readonly attempt: string
  /**
   * The same for many, in the order in which they are given, by one parameter: an array of arrays of what is asked of
   * each, as JSON. Each row begins with which of them it is about, from 1 on.
   */
  readonly attempts: string
  /**
   * Looks at some entries, from a name on, and deletes those that have expired. Its parameters are how many to look at, and
   * that name. It says which was the last, and how many there were: a table of millions is never read by one statement.
   */
  readonly sweep: string
  /**
   * Some names, from a text on, and whether each is held. Its parameters are that text, and how many rows to read: of the
   * index of the primary key, which is in the order of bytes, as the column is.
   */
  readonly list: string
  /** Tells the clock of the database, in milliseconds. */
  readonly clock: string
  /** Where the names are told that were freed while somebody waited. */
  readonly channel: string
  /** Makes what is missing, however many do it at once. Where nothing is missing no right to make any is needed. */
  readonly migrate: Effect.Effect<void, Migrator.MigrationError | SqlError, SqlClient.SqlClient>
}

/** All that is in the schema of this name. */
export const make = (name: string): Schema => {
  const schema = quoted(name)
  return {
    attempt: `SELECT * FROM ${schema}.attempt_v5($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
    attempts: `SELECT q.at, a.* FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS q(v, at),
  LATERAL ${schema}.attempt_v5(v->>0, v->>1, v->>2, v->>3, v->>4, v->>5, (v->>6)::bigint, v->>7, v->>8, v->>9,
    (v->>10)::float8, (v->>11)::bigint, (v->>12)::boolean, v->>13, (v->>14)::float8) AS a`,
    // One that was renewed meanwhile is looked at again before it is deleted, and one that is being changed is left.
    sweep: `WITH slice AS MATERIALIZED (
  SELECT name, expires_at FROM ${schema}.entries WHERE name >= $2 ORDER BY name LIMIT $1
), swept AS (
  DELETE FROM ${schema}.entries WHERE name = ANY (ARRAY(
    SELECT t.name FROM ${schema}.entries AS t
      WHERE t.name = ANY (ARRAY(SELECT name FROM slice WHERE expires_at <= now())) AND t.expires_at <= now()
      FOR UPDATE SKIP LOCKED
  ))
) SELECT max(name), count(*)::int FROM slice`,
    list: `SELECT name, expires_at > clock_timestamp() FROM ${schema}.entries WHERE name >= $1 ORDER BY name LIMIT $2`,
    clock: "SELECT date_part('epoch', clock_timestamp()) * 1000",
    channel: name,
    migrate: Effect.flatMap(SqlClient.SqlClient, (sql) =>
      sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT pg_advisory_xact_lock(${migrating})`
        const found = yield* sql`SELECT FROM pg_namespace WHERE nspname = ${name}`
        if (found.length === 0) yield* sql.unsafe(`CREATE SCHEMA ${schema}`)
        yield* migrator({
          loader: Migrator.fromRecord({
            "1_entries": Effect.forEach(entries(name, schema), (statement) => sql.unsafe(statement), { discard: true }),
            "2_fences": Effect.forEach(fences(name, schema), (statement) => sql.unsafe(statement), { discard: true }),
            "3_holders": Effect.forEach(holders(name, schema), (statement) => sql.unsafe(statement), { discard: true }),
            "4_deadlines": Effect.forEach(deadlines(name, schema), (statement) => sql.unsafe(statement), {
              discard: true
            }),
            "5_ends": Effect.forEach(ends(name, schema), (statement) => sql.unsafe(statement), { discard: true })
          }),
          table: `${name}.migrations`
        })
      })))
  }
}
