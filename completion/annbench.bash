# shellcheck shell=bash
# annbench.bash - completion of annbench for bash

_annbench()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb="" word
    local options='--index --k --recall --effort --metric --threads --batch --rounds --pin
        --specs --calibrate --churn --filter --seconds --cpu-clock --epsilon --no-file --json --report --quiet --help --version'
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
        run | peers | data)
            verb=$word
            break
            ;;
        esac
    done
    case $prev in
    --metric)
        mapfile -t COMPREPLY < <(compgen -W 'l2 angular ip' -- "$cur")
        return
        ;;
    --index | --specs)
        mapfile -t COMPREPLY < <(compgen -W 'flat hnsw ivfpq' -- "$cur")
        return
        ;;
    --peers)
        # The last of a list with commas.
        local names='hnswlib hnswlib32 symqg32 symqg64 scann scann-1 scann-int8 scann-soar scann-1-soar
            faiss-ivfpq faiss-ivfpq-1 faiss-ivfpq-2 faiss-ivfpq-8 faiss-ivfpq-8h
            faiss-ivfpq-quarter faiss-ivfpq-residual faiss-ivfpq-f16 faiss-ivfopq faiss-pq8
            faiss-4096-4fs faiss-4096-8 faiss-hnsw faiss-hnsw-sq8 svs-lvq8 svs-lvq4x8 usearch
            vsag voyager ngt none' head=""
        [[ $cur == *,* ]] && head=${cur%,*},
        mapfile -t COMPREPLY < <(compgen -P "$head" -W "$names" -- "${cur##*,}")
        return
        ;;
    --grid)
        mapfile -t COMPREPLY < <(compgen -W 'graphs flat ivf pq8 training' -- "$cur")
        return
        ;;
    --json | --report)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --k | --filter | --recall | --effort | --threads | --rounds | --pin | --epsilon | --seconds)
        return
        ;;
    esac
    if [[ $cur == -* ]]; then
        [[ $verb == peers ]] && options+=' --peers --grid --single --sweep --rebuild --flat'
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
        return
    fi
    case $verb in
    '')
        mapfile -t COMPREPLY < <(compgen -W 'run peers data' -- "$cur")
        ;;
    data)
        mapfile -t COMPREPLY < <(compgen -W 'fashion-mnist wink-100' -- "$cur")
        ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W 'fashion-mnist wink-100 synthetic:' -- "$cur"
            compgen -f -- "$cur")
        ;;
    esac
}
complete -o filenames -F _annbench annbench
