# shellcheck shell=bash
# What scripts/install and scripts/uninstall share: where the service lies, and its units. Sourced.
# shellcheck source-path=SCRIPTDIR source=setup
source "$(dirname "${BASH_SOURCE[0]}")/setup"

PREFIX=/opt/edged COMMAND=/usr/local/bin/edged # the latter is a link; a file of somebody else stays
# folders of systemd for what comes neither with the distribution (/usr/lib) nor from this machine's owner (/etc)
declare -A PLACES=(
    [edged.service]=/usr/local/lib/systemd/system/edged.service
    [edged.socket]=/usr/local/lib/systemd/system/edged.socket
    [edged.sysusers]=/usr/local/lib/sysusers.d/edged.conf
    [edged.tmpfiles]=/usr/local/lib/tmpfiles.d/edged.conf
)

# with systemd: only where it runs; an image of a disk that is made in a chroot has none
with_systemd() { if [[ -d /run/systemd/system ]]; then "$@"; fi; }

# state_of UNIT: active (also while it is starting, again and again), inactive, or nothing.
state_of() {
    local state
    state=$(with_systemd systemctl show --property=ActiveState --value "$1")
    case $state in activating | reloading) echo active ;; failed) echo inactive ;; *) echo "$state" ;; esac
}

# use ENVIRONMENT: from now on, in one step.
use() {
    ln -sfn "$1" "$PREFIX/.venv.new"
    mv -T "$PREFIX/.venv.new" "$PREFIX/venv"
}

# make_user ENVIRONMENT: the user, groups and folders that its units name.
make_user() {
    local from=$PREFIX/$1/share/edged/systemd
    systemd-sysusers "$from/edged.sysusers"
    systemd-tmpfiles --create "$from/edged.tmpfiles"
}

# place_units: those of the environment in use; names what changed.
place_units() {
    local name from=$PREFIX/venv/share/edged/systemd
    for name in "${!PLACES[@]}"; do
        if ! cmp -s "$from/$name" "${PLACES[$name]}"; then
            install -D -m 644 "$from/$name" "${PLACES[$name]}"
            echo "$name"
        fi
    done
    with_systemd systemctl daemon-reload
}

enable_units() { systemctl --quiet enable edged.service edged.socket; }

# remove_units: stopped and disabled before, and the command with them.
remove_units() {
    local unit
    for unit in edged.socket edged.service; do # the socket first, or it starts the service again
        if [[ -f ${PLACES[$unit]} ]]; then
            with_systemd systemctl --quiet stop "$unit"
            systemctl --quiet disable "$unit"
        fi
    done
    rm -f "${PLACES[@]}"
    if owns_command; then rm -f "$COMMAND"; fi
}

owns_command() { [[ $(readlink "$COMMAND" || true) == "$PREFIX/venv/bin/edged" ]]; }

# environments: their numbers, the newest last.
environments() { find "$PREFIX/venvs" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n; }

# forget_old_environments: all but the one in use and the newest other, the one before.
forget_old_environments() {
    local current number other=''
    current=$(basename "$(readlink "$PREFIX/venv")")
    for number in $(environments | sort -rn); do
        if [[ $number != "$current" && -z $other ]]; then
            other=$number
        elif [[ $number != "$current" ]]; then
            rm -rf "${PREFIX:?}/venvs/$number"
        fi
    done
}
