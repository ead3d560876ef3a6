module indelible.dev/bench/peers/load

go 1.26
