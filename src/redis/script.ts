/**
 * The script that compares and sets, in Lua.
 */

/** How an error begins that says that this server is not, or not yet, the one to ask. */
export const elsewhere = ["READONLY", "MOVED", "LOADING", "MASTERDOWN"]

/**
 * It goes through what is asked, each of a key of its own, with its arguments: how many they are, the
 * name, the mark of this store if its asker waits, until when something may be changed, and the cases. Of each that is
 * done alone: the first case that fits is made, and the answer is its index, the tenure that it left behind, and at which
 * store somebody waited for what it freed; where none fits, it is -1, the tenure, and what is there; it is -2 and why
 * where the key is nothing of ours; and -3 where its time has passed. All answers are followed by the clock, in
 * microseconds; where something is told of what is there, read last: with what that still had to live it makes no earlier end.
 *
 * Who waited for a place among holders is told of the first that is freed, and not again until it has asked again: it
 * does so once it is told, and its mark is set then. What is freed between the two it finds when it asks. If the message
 * is lost, it looks by itself, as after a removal.
 *
 * What Redis refuses of one, as where its memory is full, is that one's answer, -2, and its neighbours go on. The first
 * command of each that writes is the one that is refused, so nothing is half done. A server that is no master refuses
 * all: the error is that of the script then, so that whoever holds the connection sees it.
 *
 * An entry that a version without labels wrote has no label. One with holders is to a version that knows none another's.
 */
export const compareAndSet = `
local call, unpack = redis.call, unpack
local channel, last = ARGV[1], KEYS[#KEYS]

-- Below 2^53, a double holds every microsecond until the year 2255.
local function clock()
  local time = call("TIME")
  return time[1] * 1000000 + time[2]
end

local now, found = clock(), false

local function nextRevision()
  local next = string.format("%.0f", math.max(now, (call("GET", last) or 0) + 1))
  call("SET", last, next)
  return next
end

-- A user that may not publish has freed it all the same, and a waiter looks by itself.
local function tell(name, waited)
  if waited ~= "" then redis.pcall("PUBLISH", channel, name) end
  return waited
end

local function attempt(key, from, to)
  local name, waits, valid = ARGV[from], ARGV[from + 1], ARGV[from + 2]
  if valid ~= "" and now > valid * 1000 then return { -3 } end
  local its = redis.pcall("HMGET", key, "owner", "identity", "fence", "revision", "waited", "label")
  if its.err then return { -2, its.err } end
  local owner, identity, fence, revision, waited, label = unpack(its)

  local function write(ttl, kind, newLabel, newOwner, newIdentity, data)
    local told
    revision = nextRevision()
    local keeps = owner and kind == "Keeps"
    if not owner then waited = "" elseif not keeps then call("DEL", key) end
    if kind == "Frees" then
      told = tell(name, waited)
      waited = ""
    end
    if kind == "Begins" or not owner then fence, label = revision, "" end
    if newLabel ~= "" then label = newLabel end
    call("HSET", key, "owner", newOwner, "identity", newIdentity, "data", data,
      "fence", fence, "revision", revision, "waited", waited, "label", label or "")
    if keeps then return call("PTTL", key) end
    call("PEXPIRE", key, ttl)
    return tonumber(ttl), told
  end

  local at, index, entry = from + 3, 0, nil
  while at <= to do
    local expected, fits = ARGV[at], not owner
    if expected == "Owned" then
      local a, b, c = unpack(ARGV, at + 1, at + 3)
      at = at + 3
      fits = owner == a and identity == b and (c == "" or c == fence) and call("HSTRLEN", key, "data") == 0
    elseif expected == "Revision" then
      at = at + 1
      fits = revision == ARGV[at]
    end
    local change = ARGV[at + 1]
    at = at + 2
    if change == "Write" then
      entry = at
      at = at + 6
    end
    if fits then
      if change == "Keep" then return owner and { index, fence, revision, call("PTTL", key) } or { index } end
      if change == "Remove" then
        if not owner then return { index } end
        call("DEL", key)
        return { index, false, false, false, tell(name, waited) }
      end
      local ttl, told = write(unpack(ARGV, entry, entry + 5))
      return { index, fence, revision, ttl, told }
    end
    index = index + 1
  end

  if not owner then return { -1 } end
  found = true
  if waits ~= "" and waited ~= waits and waited ~= "many" then
    local marked = redis.pcall("HSET", key, "waited", waited == "" and waits or "many")
    -- Where there is no room for the mark, the waiter looks by itself.
    if type(marked) == "table" and marked.err and not string.find(marked.err, "OOM", 1, true) then
      error(marked.err, 0)
    end
  end
  return { -1, fence, revision, call("PTTL", key), owner, identity, call("HGET", key, "data"), label or "" }
end

local answers, at = {}, 2
for i = 1, #KEYS - 1 do
  local count = tonumber(ARGV[at])
  local done, answer = pcall(attempt, KEYS[i], at + 1, at + count)
  if not done then
    -- Redis 6 throws a text.
    local why = type(answer) == "table" and answer.err or tostring(answer)
    if ${elsewhere.map((word) => `string.find(why, "${word} ", 1, true)`).join(" or ")} then
      return { err = why }
    end
    answer = { -2, why }
  end
  answers[i] = answer
  at = at + 1 + count
end
answers[#KEYS] = found and clock() or now
return answers
`
