#!/bin/sh
# servers.sh start|stop|kill DIR NAME: a server of llama.cpp on the loopback, from what setup.sh put
# into DIR. NAME: chat (port 18181, model smollm2), emb (18182, minilm), rank (18183, minilm with an
# untrained head: the shape of its answers is real, its scores mean nothing).
here=$(cd "$(dirname "$0")" && pwd)
dir=${2:?usage: servers.sh start|stop|kill DIR NAME}
name=${3:?usage: servers.sh start|stop|kill DIR NAME}
case $name in
chat) model=SmolLM2-135M-Instruct.Q4_1.gguf port=18181 mode=chat alias=smollm2 ;;
emb) model=minilm-f16.gguf port=18182 mode=embed alias=minilm ;;
rank) model=minilm-rank.gguf port=18183 mode=rerank alias=ranker ;;
*) echo "no server $name" >&2; exit 2 ;;
esac
case $1 in
start)
    "$dir/v/bin/python" "$here/serve.py" "$dir/models/$model" $port $mode $alias >"$dir/$name.log" 2>&1 &
    echo $! >"$dir/$name.pid"
    n=0
    until curl -sf -m 2 "http://127.0.0.1:$port/health" >/dev/null; do
        n=$((n + 1))
        [ $n -gt 240 ] && { tail -n 5 "$dir/$name.log"; exit 1; }
        sleep 0.25
    done
    ;;
stop) [ -f "$dir/$name.pid" ] && kill "$(cat "$dir/$name.pid")" && rm "$dir/$name.pid" ;;
kill) [ -f "$dir/$name.pid" ] && kill -9 "$(cat "$dir/$name.pid")" && rm "$dir/$name.pid" ;;
*) echo "usage: servers.sh start|stop|kill DIR NAME" >&2; exit 2 ;;
esac
