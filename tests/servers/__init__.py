"""Real servers for the tests, the demo and the benchmarks; each starts on 127.0.0.1 and stops with its owner."""
