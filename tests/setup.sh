#!/usr/bin/env bash
# Sees to what the build and the demo need beside Rust: a C compiler and CMake, which compile zlib-ng
# and mimalloc, and curl. Installs what is missing where it may, which is on Debian and its kin, as
# root or with a sudo that asks for no password; everywhere else it names what is missing.
set -euo pipefail

has() { command -v "$1" >/dev/null; }

if ! has cargo; then
    echo "Rust is missing: https://rustup.rs says how to install it." >&2
    exit 1
fi

# The programs, and the packages of Debian that bring them.
missing=() packages=()
needs() {
    has "$1" && return
    missing+=("$1")
    packages+=("${@:2}")
}
needs cc gcc libc6-dev
needs cmake cmake
needs make make
needs curl curl ca-certificates
[ ${#missing[@]} -gt 0 ] || exit 0

echo "Missing: ${missing[*]}" >&2
if ! has apt-get; then
    case $(uname -s) in
        Darwin) echo "Install them with: xcode-select --install; brew install cmake" >&2 ;;
        *) echo "Install them with this system's package manager: a C compiler, CMake, make, curl." >&2 ;;
    esac
    exit 1
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=()
elif has sudo && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    echo "Install them with: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
fi

install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get install -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${packages[@]}")
echo "Installing: apt-get install ${packages[*]}" >&2
# The lists of packages may be absent or old, which only the attempt tells.
"${install[@]}" || { "${as_root[@]}" apt-get update -qq && "${install[@]}"; }
