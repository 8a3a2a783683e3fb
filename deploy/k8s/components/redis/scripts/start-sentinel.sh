#!/bin/sh
set -eu
umask 077
leader=$(valkey-cli -h valkey-servers -p 26379 --raw sentinel get-master-addr-by-name tandem 2>/dev/null | head -1 || true)
cat > /run/valkey/sentinel.conf <<CONF
port 26379
dir /run/valkey
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $HOSTNAME.valkey-servers
sentinel monitor tandem ${leader:-valkey-0.valkey-servers} 6379 2
sentinel auth-user tandem sentinel
sentinel auth-pass tandem $SENTINEL_PASSWORD
sentinel down-after-milliseconds tandem 5000
sentinel failover-timeout tandem 30000
sentinel parallel-syncs tandem 1
CONF
exec valkey-sentinel /run/valkey/sentinel.conf
