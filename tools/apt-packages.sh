#!/bin/sh
# Installs what the browser tests need from the system's packages: Chromium.
# Does nothing when it is there, and says why when it cannot; those tests are then skipped.
set -u

for browser in chromium chromium-browser google-chrome; do
    if command -v "$browser" >/dev/null 2>&1; then
        exit 0
    fi
done

if ! command -v apt-get >/dev/null 2>&1; then
    echo "skipped: no chromium and no apt-get; the browser tests will be skipped"
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "skipped: no chromium and no right to install it (sudo apt-get install chromium);" \
        "the browser tests will be skipped"
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # an empty word must vanish
if $as_root apt-get update -qq >/dev/null 2>&1 &&
    $as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; then
    echo "installed chromium"
else
    echo "skipped: apt-get could not install chromium; the browser tests will be skipped"
fi
