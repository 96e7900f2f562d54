-- What surrounds every script: the globals that it sees, closed against change, and errors as Redis's scripts know them.
-- Gets a table of functions; returns the environment of scripts, the table behind it, the table behind `redis`, and how to run one.
local rust = ...
local pcall, xpcall, error, type, tostring = pcall, xpcall, error, type, tostring
local setmetatable, rawset, getmetatable, collectgarbage, concat = setmetatable, rawset, getmetatable, collectgarbage, table.concat
local caught, compile = rust.caught, rust.compile

local closed = setmetatable({}, { __mode = "k" })

local function refuse()
  error("Attempt to modify a readonly table", 2)
end

-- A table that shows another one and takes nothing.
local function close(inner)
  local outer = setmetatable({}, { __index = inner, __newindex = refuse, __metatable = false })
  closed[outer] = true
  return outer
end

local function passed(ok, ...)
  if ok then
    return ok, ...
  end
  return false, caught((...))
end

local globals = {
  _VERSION = _VERSION, assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs, next = next, pairs = pairs,
  rawequal = rawequal, rawget = rawget, select = select, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
}

function globals.pcall(f, ...)
  return passed(pcall(f, ...))
end

function globals.xpcall(f, handler)
  return passed(xpcall(f, function(e)
    return handler(caught(e))
  end))
end

function globals.rawset(t, key, value)
  if closed[t] then
    error("Attempt to modify a readonly table", 0)
  end
  return rawset(t, key, value)
end

function globals.setmetatable(t, meta)
  if closed[t] then
    error("Attempt to modify a readonly table", 0)
  end
  return setmetatable(t, meta)
end

function globals.loadstring(text, name)
  return compile(text, name)
end

function globals.load(reader, name)
  if type(reader) ~= "function" then
    error("bad argument #1 to 'load' (function expected)", 2)
  end
  local parts = {}
  while true do
    local part = reader()
    if part == nil or part == "" then
      return compile(concat(parts), name)
    end
    parts[#parts + 1] = part
  end
end

-- The collector is not a script's to stop.
function globals.collectgarbage(what)
  if what == "count" then
    return collectgarbage("count")
  end
  return 0
end

function globals.gcinfo()
  return math.floor(collectgarbage("count"))
end

for name, fn in next, rust.string do
  string[name] = fn
end
-- What strings themselves are indexed by; nobody gets at it to change it.
getmetatable("").__metatable = false

local redis = rust.redis
function redis.pcall(...)
  local ok, reply = pcall(redis.call, ...)
  if ok then
    return reply
  end
  return caught(reply)
end

function redis.setresp(...)
  redis.call("@resp3", rust.resp_version(...))
end

local insert = table.insert
function table.insert(t, ...)
  if closed[t] then
    error("Attempt to modify a readonly table", 2)
  end
  return insert(t, ...)
end

-- Lua's own way to compare is not interrupted: long strings that are nearly the same take their time.
local sort = table.sort
local function less(a, b)
  return a < b
end
function table.sort(t, before)
  return sort(t, before or less)
end

globals.string, globals.table, globals.math = close(string), close(table), close(math)
globals.os, globals.bit, globals.cjson = close(rust.os), close(rust.bit), close(rust.cjson)
globals.redis = close(redis)
globals.server = globals.redis
setmetatable(globals, {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
})
local environment = close(globals)
globals._G = environment

local failed = rust.failed
local function run(script)
  return xpcall(script, failed)
end

return environment, globals, redis, run
