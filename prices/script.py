"""What one write does in Redis, in Redis' own Lua: all of it or, where Redis has lost something, nothing.

A price only ever moves forward in (timestamp, trade_id), whoever writes, how often and in which order. A trade enters
the stream of its symbol once. Exchanges number trades without gaps, so that two things tell whether one has come
before: the newest id, and the ranges below it that have not come. What is in such a range came late, and is taken if
it is not later than `LATE_MS`: the streams hold the last trades, and the tables hold all. What is newer than everything
although its number is lower was numbered anew (another seed of the simulator), and is taken too.

A heartbeat of an exchange says that all its trades until then were in Kafka before it. It is noted for its partition,
whose trades of before are here by then, and moves forward only.

    KEYS  the set of names, the hash of positions, the stream of news, the hash of heartbeats, and for each symbol its
          price and its trades
    ARGV  the field of the partition's position (empty: none), the offset before the first record, the one after the
          last, trades kept of each symbol (0: the price alone is written), entries kept of the news, LATE_MS, fields
          and times of heartbeats, one to a line, and for each symbol its name and its trades, one to a line
    returns  1 if it was written (0: Redis lacks records before these), trades that were new, had come before, were late

Only Redis 5 and newer run it. Its keys lie in many slots: a Redis Cluster refuses it.
"""

LATE_MS = 60_000
"""How much older than its symbol's price a trade may be that enters the stream."""

_RANGES_LENGTH = 2_000
"""Characters of ids that have not come, per symbol; beyond them the lowest ranges count as having come."""

WRITE = """
local function text(number) return string.format('%.0f', number) end

local function with(missing, from, to)
  missing = (missing == '' and '' or missing .. ',') .. text(from) .. '-' .. text(to)
  if #missing <= RANGES_LENGTH then return missing end
  return string.sub(missing, string.find(missing, ',', #missing - RANGES_LENGTH, true) + 1)
end

local function without(missing, id)
  local left, found = {}, false
  for a, b in string.gmatch(missing, '(%d+)-(%d+)') do
    local from, to = tonumber(a), tonumber(b)
    if from <= id and id <= to then
      found = true
      if from < id then left[#left + 1] = a .. '-' .. text(id - 1) end
      if id < to then left[#left + 1] = text(id + 1) .. '-' .. b end
    else
      left[#left + 1] = a .. '-' .. b
    end
  end
  return found, table.concat(left, ',')
end

local position, from, to = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local kept, news_kept, late_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local at = position ~= '' and redis.call('HGET', KEYS[2], position)
if position ~= '' and (not at or tonumber(at) < from) then return {0, 0, 0, 0} end

local fresh, seen, late = 0, 0, 0
local news = {}
for number = 1, (#KEYS - 4) / 2 do
  local price_key, trades_key = KEYS[3 + 2 * number], KEYS[4 + 2 * number]
  local name, lines = ARGV[6 + 2 * number], ARGV[7 + 2 * number]
  local was = redis.call('HMGET', price_key, 'timestamp', 'trade_id', 'newest_id', 'missing')
  local time, id = tonumber(was[1] or -1), tonumber(was[2] or -1)
  local newest, missing = tonumber(was[3] or -1), was[4] or ''
  local last, taken = nil, {}

  for line, a, b in string.gmatch(lines, '((%d+) (%d+) [^\\n]+)') do
    local line_time, line_id = tonumber(a), tonumber(b)
    local is_newest = line_time > time or (line_time == time and line_id > id)
    if kept > 0 then
      local is_new = true
      if line_id > newest then
        if newest >= 0 and line_id > newest + 1 then missing = with(missing, newest + 1, line_id - 1) end
        newest = line_id
      else
        is_new, missing = without(missing, line_id)
        if is_new and line_time < time - late_ms then
          is_new, late = false, late + 1
        elseif not is_new and is_newest then
          is_new, newest, missing = true, line_id, ''
        elseif not is_new then
          seen = seen + 1
        end
      end
      if is_new then
        taken[#taken + 1] = line
        redis.call('XADD', trades_key, 'MAXLEN', '~', kept, '*', 'trade', line)
      end
    end
    if is_newest then time, id, last = line_time, line_id, line end
  end

  if last then
    local price, quantity, side, kafka_time = string.match(last, '^%d+ %d+ (%S+) (%S+) (%S+) (%S+)$')
    redis.call('HSET', price_key, 'price', price, 'quantity', quantity, 'timestamp', text(time),
      'trade_id', text(id), 'is_buyer_maker', side, 'kafka_time', kafka_time)
    redis.call('SADD', KEYS[1], name)  -- again and again: what was evicted or deleted comes back
  end
  if #taken > 0 then
    redis.call('HSET', price_key, 'newest_id', text(newest), 'missing', missing)
    news[#news + 1] = name
    news[#news + 1] = table.concat(taken, '\\n')
    fresh = fresh + #taken
  end
end

if #news > 0 then
  local top = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  local entry
  if top then
    local epoch, count = string.match(top[1], '^(%d+)-(%d+)$')
    entry = epoch .. '-' .. text(tonumber(count) + 1)
  else
    local now = redis.call('TIME')
    entry = now[1] .. string.format('%06d', now[2]) .. '-1'
  end
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', news_kept, entry, unpack(news))
end

for field, time in string.gmatch(ARGV[7], '(%S+) (%d+)') do
  local known = redis.call('HGET', KEYS[4], field)
  if tonumber(known or -1) < tonumber(time) then redis.call('HSET', KEYS[4], field, time) end
end

if position ~= '' and tonumber(at) < to then redis.call('HSET', KEYS[2], position, text(to)) end
return {1, fresh, seen, late}
""".replace("RANGES_LENGTH", str(_RANGES_LENGTH))
