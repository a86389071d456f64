module github.com/crossroom/crossroom

go 1.26
