# Everything that continuous integration checks.
check:
    bash .ci/run

# The quick part of it, while working.
quick:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace --lib

# Plays many more random sequences to Valkey and to this server.
differential sequences="20000":
    ci/setup.sh
    KV_VALKEY_SERVER="$PWD/.ci/cache/valkey-server" KV_REQUIRE_VALKEY=1 KV_DIFF_SEQUENCES={{sequences}} \
        cargo test --test differential -- --nocapture

# Compares with Valkey in the same minutes; wants an otherwise idle machine.
bench:
    ci/bench_peers.sh

fuzz seconds="60":
    ci/fuzz.sh {{seconds}}
