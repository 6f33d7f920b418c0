#!/bin/sh
# Downloads the free pictures of the synthetic training world (Debian packages) and unpacks
# them into a folder. Needs apt-get and dpkg; installs nothing. About 650 MB.
#
#   tools/fetch_training_assets.sh FOLDER
set -eu

if [ "$#" -ne 1 ]; then
    echo "usage: $0 FOLDER" >&2
    exit 2
fi

packages="tuxpaint-stamps-default gnome-backgrounds plasma-workspace-wallpapers
mate-backgrounds lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 ukui-wallpapers megaglest-data"

mkdir -p "$1"
folder=$(cd "$1" && pwd)
downloads=$(mktemp -d)
trap 'rm -rf "$downloads"' EXIT

cd "$downloads"
# shellcheck disable=SC2086  # one word a package
apt-get download $packages
for package in *.deb; do
    dpkg -x "$package" "$folder"
done
echo "unpacked into $folder; licences: $folder/usr/share/doc/*/copyright"
