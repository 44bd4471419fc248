#!/usr/bin/env bash
# compile.sh SOURCE FOLDER: compiles device code for the CPU into FOLDER, unless that was done, and prints the library.
set -euo pipefail
source=$1
folder=$2
here=$(dirname "$(realpath "$0")")
compiler=${CXX:-c++}
flags=(-std=c++17 -O2 -g1 -march=x86-64-v3 -ffp-contract=off -fno-strict-aliasing -w -I "$here/include" -I "$(dirname "$source")")
prepared=$(mktemp "$folder/device-XXXXXX.ii")
trap 'rm -f "$prepared"*' EXIT
# Kernels become static functions, and each gets a function that the driver calls. Shared memory is announced where it is
# declared.
"$compiler" "${flags[@]}" -E -x c++ -include "$here/include/emulated.h" "$source" | perl -0777 -pe '
    my (@kernels, %bound);
    # Launch bounds stand before or after the type.
    my $bounds = qr/(?:EMULATED_BOUNDS(\((?:[^()]++|(?-1))*+\))\s*)?/;
    s{extern\s+"C"\s+EMULATED_KERNEL\s+${bounds}void\s+${bounds}(\w+)\s*\(}
     {push @kernels, $3; $bound{$3} = $1 // $2 // "(1024)"; "static void $3("}ge;
    s/EMULATED_BOUNDS(\((?:[^()]++|(?1))*+\))//g;
    s/extern\s+EMULATED_SHARED\s+(\w+)\s+(\w+)\s*\[\]\s*;/$1 *$2 = reinterpret_cast<$1 *>(emulated_dynamic);/g;
    s{EMULATED_SHARED\s+([^;=,]*?)\b(\w+)\s*((?:\[[^\]]*\]\s*)*);}
     {static $1 $2$3; static uint64_t block_of_$2; if (block_of_$2 != emulated_block_count) emulated_shared(&$2, sizeof $2, &block_of_$2);}g;
    for my $kernel (@kernels) {
        $_ .= qq(\nextern "C" void emulated_call_$kernel(void **at) { emulated::call($kernel, at); });
        $_ .= qq(\nextern "C" unsigned emulated_bound_$kernel() { return emulated::first$bound{$kernel}; });
    }
    $_ .= "\n";
' >"$prepared"
version=$("$compiler" --version)
library=$folder/$(cat - "$prepared" <<<"$version ${flags[*]}" | sha256sum | cut -c1-16).so
if [ ! -f "$library" ]; then
    "$compiler" "${flags[@]}" -shared -fPIC -Wl,-z,lazy "$prepared" -o "$prepared.so"
    mv "$prepared.so" "$library"
fi
echo "$library"
