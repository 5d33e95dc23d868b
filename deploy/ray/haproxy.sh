#!/bin/sh
# What Ray Serve starts as `haproxy -db -f CONFIG ...`: HAProxy, with some settings changed (haproxy.py says why), that
# ends with the process that started it and so never holds the port when all of Ray is killed (1: PR_SET_PDEATHSIG).
set -eu
sed -E -e 's,^( *bind) \*?:,\1 127.0.0.1:,' \
    -e "s,^( *errorfile [0-9]+) .*,\1 $PLANTAIN_HAPROXY_503," \
    -e 's,^( *)option httplog$,&\n\1option http-server-close,' "$3" > "$3.own"
own=$3.own
shift 3
exec "$PLANTAIN_PYTHON" -IS -c 'import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
os.execv(sys.argv[1], sys.argv[1:])' "$PLANTAIN_HAPROXY" -db -f "$own" "$@"
