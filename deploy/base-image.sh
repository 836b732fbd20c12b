#!/bin/sh
# Makes the base image of deploy/Containerfile from Debian's packages, where no registry of images is
# reached: docker.io/library/python:3.11-slim, as the file names it, in buildah's local storage.
# Needs debootstrap and buildah, and root. Once:
#
#   deploy/base-image.sh
#   buildah build --isolation chroot --pull=never -f deploy/Containerfile --target service -t ext-scheduler .
set -eu
MIRROR=${MIRROR:-http://deb.debian.org/debian}
IMAGE=docker.io/library/python:3.11-slim
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
    bookworm "$root" "$MIRROR"
ln -sf python3 "$root/usr/bin/python"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
container=$(buildah from scratch)
buildah add --quiet "$container" "$root" /
# Debian's pip refuses to install beside its packages; in the build stage nothing else is there.
buildah config --env PIP_BREAK_SYSTEM_PACKAGES=1 \
    --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah commit --quiet "$container" "$IMAGE"
buildah rm "$container"
