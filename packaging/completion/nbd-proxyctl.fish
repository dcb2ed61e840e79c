# fish completion for nbd-proxyctl, and nbd-proxy ctl. All words are the program's own.

function __nbd_proxyctl_words
    set -l given (commandline -opc)
    set -l last (commandline -ct)
    set -l program $given[1]
    set -e given[1]
    if string match -qr '(^|/)nbd-proxy$' -- $program
        if test (count $given) -eq 0
            printf '%s\n' ctl doctor passwd
            return
        end
        test "$given[1]" = ctl; or return
        set program $program ctl
        set -e given[1]
    end
    for word in ($program --complete $given "$last" 2>/dev/null)
        if test "$word" = :files
            __fish_complete_path "$last"
        else
            echo $word
        end
    end
end

complete -c nbd-proxyctl -f -a '(__nbd_proxyctl_words)'
complete -c nbd-proxy -f -a '(__nbd_proxyctl_words)'
