#!/usr/bin/env bash
# Debian's packages that some tests run: buildah and debootstrap build a real image, redis-server is a real Redis,
# a headless Chromium shows the HTTP door's page, docker-buildx evaluates the image plan. Without root, Debian or a
# package those tests skip and say so.
set -uo pipefail

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "ci-packages: not root on Debian; tests that need its packages will skip" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
missing=()
for package in buildah debootstrap redis-server chromium-headless-shell; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
buildx() { command -v docker-buildx >/dev/null || docker buildx version >/dev/null 2>&1; }
if [ ${#missing[@]} = 0 ] && buildx; then
    exit 0
fi
apt-get update -qq || echo "ci-packages: apt-get update failed" >&2
for package in ${missing[@]+"${missing[@]}"}; do
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
        echo "ci-packages: no $package; the tests that need it will skip" >&2
done

# bookworm has no docker-buildx; trixie's is one static binary, which is unpacked and not installed.
if ! buildx; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keys] $mirror trixie main" >"$folder/sources.list"
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    options=(-qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root)
    (
        cd "$folder" && apt-get "${options[@]}" update && apt-get "${options[@]}" download docker-buildx &&
            dpkg-deb -x docker-buildx_*.deb unpacked &&
            install unpacked/usr/libexec/docker/cli-plugins/docker-buildx /usr/local/bin/docker-buildx
    ) || echo "ci-packages: no docker-buildx; the tests that need it will skip" >&2
fi
exit 0
