#!/bin/sh
# Writes the users from the environment, asks the Sentinels who leads, and starts. Passwords go to a memory-backed file only.
set -eu
umask 077
{
  echo "user default off"
  # The owners: the shards' tickets and timers, through scripts.
  echo "user planner on >$PLANNER_PASSWORD ~tandem:{p*}:* resetchannels -@all +@read +@write +@scripting +@connection -@dangerous"
  echo "user memory on >$MEMORY_PASSWORD ~tandem:memory:* resetchannels -@all +@read +@write +@scripting +@connection -@dangerous"
  echo "user llm_gateway on >$LLM_GATEWAY_PASSWORD ~tandem:{grant:* ~tandem:{quota:* resetchannels -@all +@read +@write +@scripting +@connection -@dangerous"
  echo "user replica on >$REPLICA_PASSWORD resetkeys resetchannels -@all +psync +replconf +ping"
  echo "user sentinel on >$SENTINEL_PASSWORD resetkeys allchannels -@all +multi +exec +slaveof +replicaof +ping +subscribe +publish +info +role +config|rewrite +client|setname +client|kill +script|kill"
  echo "user proxy on >$PROXY_PASSWORD resetkeys resetchannels -@all +ping +info"
} > /run/valkey/users.acl
leader=$(valkey-cli -h valkey-servers -p 26379 --raw sentinel get-master-addr-by-name tandem 2>/dev/null | head -1 || true)
me="$HOSTNAME.valkey-servers"
if [ -z "$leader" ]; then leader=valkey-0.valkey-servers; fi
set -- valkey-server --port 6379 --dir /data --appendonly yes --appendfsync everysec --aclfile /run/valkey/users.acl \
  --masteruser replica --masterauth "$REPLICA_PASSWORD" --replica-announce-ip "$me" \
  --min-replicas-to-write 1 --min-replicas-max-lag 10 --maxmemory-policy noeviction
if [ "$leader" != "$me" ]; then set -- "$@" --replicaof "$leader" 6379; fi
exec "$@"
