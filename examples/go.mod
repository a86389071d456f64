module github.com/crossroom/crossroom/examples

go 1.26.0

require github.com/crossroom/crossroom v0.0.0

replace github.com/crossroom/crossroom => ../
