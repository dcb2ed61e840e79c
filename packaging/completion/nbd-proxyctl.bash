# bash completion for nbd-proxyctl, and nbd-proxy ctl. All words are the program's own.
# shellcheck shell=bash

_nbd_proxyctl() {
    local -a words=() program
    local word line i
    # "--socket=/x" comes in three parts, since bash breaks words at "=".
    for ((i = 0; i <= COMP_CWORD; i++)); do
        if ((i > 1)) && [[ ${COMP_WORDS[i]} == = || ${COMP_WORDS[i - 1]} == = ]] && [[ ${words[-1]} == --* ]]; then
            words[-1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}")
        fi
    done
    word=${words[-1]}
    program=("${words[0]}")
    words=("${words[@]:1}")
    COMPREPLY=()
    if [[ ${program[0]##*/} == nbd-proxy ]]; then
        if ((${#words[@]} == 1)); then
            mapfile -t COMPREPLY < <(compgen -W 'ctl doctor passwd' -- "$word")
            return
        fi
        [[ ${words[0]} == ctl ]] || return
        program+=(ctl)
        words=("${words[@]:1}")
    fi
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$word")
        elif [[ $line == "$word"* ]]; then
            COMPREPLY+=("$line")
        fi
    done < <("${program[@]}" --complete "${words[@]}" 2>/dev/null)
}
complete -o bashdefault -o default -F _nbd_proxyctl nbd-proxyctl nbd-proxy
