module github.com/crossroom/crossroom/hub/coderws

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/crossroom/crossroom v0.0.0
)

require (
	github.com/go-json-experiment/json v1.27.2 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/crossroom/crossroom => ../..
