-- For docs/haproxy.cfg: hold a request until TorchServe is ready, then add TorchServe's own token.
--
-- TorchServe makes new tokens at each start. `make serve` writes the token for a proxy once all models answer. `make stop`
-- removes that file first. While there is no such file, complete requests wait here, and their callers do not notice the
-- restart.

local file = os.getenv("DOOR_TOKEN")
local patience = 120 -- seconds that a request waits for TorchServe

local function token()
  local opened = io.open(file)
  if not opened then
    return nil
  end
  local line = opened:read("l")
  opened:close()
  return line
end

-- Explanations have workers of their own, which TorchServe hosts as MODEL.explain. The file lists these models.
local explained = os.getenv("DOOR_EXPLAINED")

-- What stands before the model, the model, and the rest: the bundle's own address, KServe's first protocol, its second.
local asking = {
  "^(/explanations/)([^/]+)(.*)$",
  "^(/v1/models/)([^/:]+)(:explain)$",
  "^(/v2/models/)([^/]+)(/explain)$",
}

core.register_action("to_explainer", { "http-req" }, function(txn)
  local opened = io.open(explained)
  if not opened then
    return
  end
  for _, pattern in ipairs(asking) do
    local before, model, rest = txn.sf:path():match(pattern)
    opened:seek("set")
    for line in opened:lines() do
      if line == model then
        txn.http:req_set_path(before .. model .. ".explain" .. rest)
      end
    end
  end
  opened:close()
end)

core.register_action("wait_for_torchserve", { "http-req" }, function(txn)
  local deadline = core.now().sec + patience
  repeat
    local found = txn.f:nbsrv("torchserve") > 0 and token()
    if found then
      txn.http:req_set_header("Authorization", found)
      txn:set_var("txn.is_open", true)
      return
    end
    core.msleep(100)
  until core.now().sec >= deadline
end)
