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

const fits = (i: number) =>
  `(
    expected_${i} = 'Absent' AND NOT live
    OR expected_${i} = 'Revision' AND live AND e.revision = revision_${i}
    OR expected_${i} = 'Owned' AND live AND e.owner = owner_${i} AND e.identity IS NOT DISTINCT FROM identity_${i}
      AND e.data IS NULL
  )`

const parameters = (i: number) => `
  expected_${i} text, owner_${i} text, identity_${i} text, revision_${i} bigint,
  change_${i} text, new_owner_${i} text, new_identity_${i} text, new_data_${i} text, ttl_${i} float8,`

// The names of entries are locked by an advisory lock, and not by their rows: a name that is free has none, and two
// who take it at once could get their revisions in another order than the name. Each statement of the function sees
// what was committed before it began, so what the holder of that lock did before us.
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
  waited boolean NOT NULL
) WITH (fillfactor = 70)`,
  `COMMENT ON TABLE ${schema}.entries IS
  'Locks of effect-dlm. In its texts \\\\ is a backslash, \\0 is NUL, and \\ud800 is a surrogate that is alone.'`,
  `CREATE SEQUENCE ${schema}.revisions`,
  `CREATE FUNCTION ${schema}.attempt_v1(
  wanted text, waits boolean,${parameters(1)}${parameters(2)}
  OUT made int, OUT fence bigint, OUT revision bigint, OUT expires_in float8,
  OUT owner text, OUT identity text, OUT data text
) LANGUAGE plpgsql AS $function$
DECLARE
  e ${schema}.entries%ROWTYPE;
  live boolean;
  change text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(wanted, ${changing}));
  SELECT * INTO e FROM ${schema}.entries AS t WHERE t.name = wanted AND t.expires_at > clock_timestamp();
  live := FOUND;
  IF ${fits(1)} THEN
    made := 1;
    change := change_1;
  ELSIF ${fits(2)} THEN
    made := 2;
    change := change_2;
  END IF;
  IF change = 'Write' THEN
    revision := nextval('${literal(schema)}.revisions');
    fence := CASE WHEN live THEN e.fence ELSE revision END;
    expires_in := CASE made WHEN 1 THEN ttl_1 ELSE ttl_2 END;
    INSERT INTO ${schema}.entries AS t VALUES (
      wanted,
      CASE made WHEN 1 THEN new_owner_1 ELSE new_owner_2 END,
      CASE made WHEN 1 THEN new_identity_1 ELSE new_identity_2 END,
      CASE made WHEN 1 THEN new_data_1 ELSE new_data_2 END,
      fence,
      revision,
      clock_timestamp() + expires_in * interval '1 millisecond',
      live AND e.waited
    ) ON CONFLICT ON CONSTRAINT entries_pkey DO UPDATE SET
      owner = excluded.owner, identity = excluded.identity, data = excluded.data, fence = excluded.fence,
      revision = excluded.revision, expires_at = excluded.expires_at, waited = excluded.waited;
  ELSIF change = 'Remove' THEN
    IF live THEN
      DELETE FROM ${schema}.entries AS t WHERE t.name = wanted;
      IF e.waited THEN
        PERFORM pg_notify('${literal(name)}', wanted);
      END IF;
    END IF;
  ELSIF live THEN
    fence := e.fence;
    revision := e.revision;
    expires_in := extract(epoch FROM e.expires_at - clock_timestamp()) * 1000;
    IF made IS NULL THEN
      owner := e.owner;
      identity := e.identity;
      data := e.data;
      IF waits AND NOT e.waited THEN
        UPDATE ${schema}.entries AS t SET waited = true WHERE t.name = wanted;
      END IF;
    END IF;
  END IF;
END
$function$`
]

/** The statements of a store, and what makes its schema. */
export interface Schema {
  /** Two parameters, and nine for each of two cases. Its one row is positional, as the function says. */
  readonly attempt: string
  /** Deletes some entries that have expired, and says how many. Its parameter is how many at the most. */
  readonly sweep: string
  /** Where the names are told that were freed while somebody waited. */
  readonly channel: string
  /** Makes what is missing, however many do it at once. Where nothing is missing no right to make any is needed. */
  readonly migrate: Effect.Effect<void, Migrator.MigrationError | SqlError, SqlClient.SqlClient>
}

/** All that is in the schema of this name. */
export const make = (name: string): Schema => {
  const schema = quoted(name)
  const placeholders = Array.from({ length: 20 }, (_, i) => `$${i + 1}`).join(", ")
  return {
    attempt: `SELECT * FROM ${schema}.attempt_v1(${placeholders})`,
    // One that was renewed meanwhile is looked at again before it is deleted, and one that is being changed is left.
    sweep: `WITH swept AS (
  DELETE FROM ${schema}.entries WHERE name = ANY (ARRAY(
    SELECT name FROM ${schema}.entries WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED
  )) RETURNING 1
) SELECT count(*)::int FROM swept`,
    channel: name,
    migrate: Effect.flatMap(SqlClient.SqlClient, (sql) =>
      sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT pg_advisory_xact_lock(${migrating})`
        const found = yield* sql`SELECT FROM pg_namespace WHERE nspname = ${name}`
        if (found.length === 0) yield* sql.unsafe(`CREATE SCHEMA ${schema}`)
        yield* migrator({
          loader: Migrator.fromRecord({
            "1_entries": Effect.forEach(entries(name, schema), (statement) => sql.unsafe(statement), { discard: true })
          }),
          table: `${name}.migrations`
        })
      })))
  }
}
