#!/usr/bin/env bash
# Debian's packages that some tests run: buildah and debootstrap build a real image, docker-registry is
# where images are pushed to, redis-server is a real Redis, a headless Chromium shows the HTTP door's page, docker-buildx
# evaluates the image plan; docker-compose, nginx (with openssl and envsubst, which its image has) and Prometheus show
# that docker-compose.yml holds. Without root, Debian or a package those tests skip and say so.
set -uo pipefail

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "ci-packages: not root on Debian; tests that need its packages will skip" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
missing=()
for package in buildah debootstrap redis-server chromium-headless-shell nginx-light openssl gettext-base; do
    case $package in
        # Any of its variants will do.
        nginx-light) [ -x /usr/sbin/nginx ] && continue ;;
    esac
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
buildx() { command -v docker-buildx >/dev/null || docker buildx version >/dev/null 2>&1; }
compose() { command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1; }
prometheus() { command -v prometheus >/dev/null && command -v promtool >/dev/null; }
registry() { command -v docker-registry >/dev/null; }
if [ ${#missing[@]} = 0 ] && buildx && compose && prometheus && registry; then
    exit 0
fi
apt-get update -qq || echo "ci-packages: apt-get update failed" >&2
for package in ${missing[@]+"${missing[@]}"}; do
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
        echo "ci-packages: no $package; the tests that need it will skip" >&2
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Unpacks a package and installs only these of its programs. The first arguments, up to --, are apt's options.
unpack() {
    local options=() package
    while [ "$1" != -- ]; do options+=("$1") && shift; done
    package=$2 && shift 2
    (
        mkdir -p "$folder/$package" && cd "$folder/$package" &&
            apt-get -qq -o APT::Sandbox::User=root ${options[@]+"${options[@]}"} download "$package" &&
            dpkg-deb -x "$package"_*.deb unpacked && cd unpacked && install "$@" /usr/local/bin/
    ) || echo "ci-packages: no $package; the tests that need it will skip" >&2
}

# Their packages would start servers.
prometheus || unpack -- prometheus usr/bin/prometheus usr/bin/promtool
registry || unpack -- docker-registry usr/bin/docker-registry

# bookworm has neither of these; trixie's are one binary each.
if ! buildx || ! compose; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keys] $mirror trixie main" >"$folder/sources.list"
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    trixie=(-o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache")
    apt-get -qq -o APT::Sandbox::User=root "${trixie[@]}" update
    buildx || unpack "${trixie[@]}" -- docker-buildx usr/libexec/docker/cli-plugins/docker-buildx
    compose || unpack "${trixie[@]}" -- docker-compose usr/libexec/docker/cli-plugins/docker-compose
fi
exit 0
