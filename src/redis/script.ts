/**
 * The script that compares and sets, in Lua.
 */

/**
 * It goes through what is asked, each of a key of its own, with its arguments: how many they are, the
 * name, the mark of this store if its asker waits, and the cases. Of each that is done alone: the first case that
 * fits is made, and the answer is its index and the tenure that it left behind, or at which store somebody waited for
 * what it freed; where none fits, it is -1, the tenure, and what is there; and it is -2 and why where the key is
 * nothing of ours.
 *
 * An entry that a version without labels wrote has no label.
 */
export const compareAndSet = `
local channel, last = ARGV[1], KEYS[#KEYS]

-- Below 2^53, a double holds every microsecond until the year 2255.
local function nextRevision()
  local time = redis.call("TIME")
  local now = time[1] * 1000000 + time[2]
  local next = string.format("%.0f", math.max(now, (redis.call("GET", last) or 0) + 1))
  redis.call("SET", last, next)
  return next
end

local function attempt(key, from, to)
  local name, waits = ARGV[from], ARGV[from + 1]
  local found = redis.pcall("HMGET", key, "owner", "identity", "fence", "revision", "waited", "label")
  if found.err then return { -2, found.err } end
  local owner, identity, fence, revision, waited, label = unpack(found)

  local function fits(expected, a, b, c)
    if expected == "Absent" then return not owner end
    if expected == "Owned" then
      return owner == a and identity == b and (c == "" or c == fence) and redis.call("HSTRLEN", key, "data") == 0
    end
    return revision == a
  end

  local function remove()
    if not owner then return end
    redis.call("DEL", key)
    -- A user that may not publish has freed it all the same, and a waiter looks by itself.
    if waited ~= "" then redis.pcall("PUBLISH", channel, name) end
  end

  local function write(ttl, begins, newLabel, newOwner, newIdentity, data)
    revision = nextRevision()
    if owner then redis.call("DEL", key) else waited = "" end
    if begins == "1" or not owner then fence, label = revision, "" end
    if newLabel ~= "" then label = newLabel end
    redis.call("HSET", key, "owner", newOwner, "identity", newIdentity, "data", data,
      "fence", fence, "revision", revision, "waited", waited, "label", label or "")
    redis.call("PEXPIRE", key, ttl)
    return tonumber(ttl)
  end

  local at, index, entry = from + 2, 0, nil
  while at <= to do
    local expected, a, b, c, change = unpack(ARGV, at, at + 4)
    at = at + 5
    if change == "Write" then
      entry = at
      at = at + 6
    end
    if fits(expected, a, b, c) then
      if change == "Remove" then
        remove()
        return { index, false, false, false, waited }
      end
      if change == "Keep" then return owner and { index, fence, revision, redis.call("PTTL", key) } or { index } end
      local ttl = write(unpack(ARGV, entry, entry + 5))
      return { index, fence, revision, ttl }
    end
    index = index + 1
  end

  if not owner then return { -1 } end
  if waits ~= "" and waited ~= waits and waited ~= "many" then
    redis.call("HSET", key, "waited", waited == "" and waits or "many")
  end
  return { -1, fence, revision, redis.call("PTTL", key), owner, identity, redis.call("HGET", key, "data"), label or "" }
end

local answers, at = {}, 2
for i = 1, #KEYS - 1 do
  local count = tonumber(ARGV[at])
  answers[i] = attempt(KEYS[i], at + 1, at + count)
  at = at + 1 + count
end
return answers
`
