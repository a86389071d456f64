module github.com/crossroom/crossroom/hub/gorillaws

go 1.26.0

require (
	github.com/crossroom/crossroom v0.0.0
	github.com/gorilla/websocket v1.5.3
)

require (
	github.com/go-json-experiment/json v1.27.2 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/crossroom/crossroom => ../..
