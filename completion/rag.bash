# bash completion for rag(1).  The program itself knows its commands and options: it is asked.
_rag()
{
    local IFS=$'\n' words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --complete "${words[@]}" \
        2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _rag rag
