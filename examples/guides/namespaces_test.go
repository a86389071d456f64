package guides_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// tenants opens a namespace with its first client, and closes it with its last.
type tenants struct {
	server *adapter.Server
	mu     sync.Mutex // held across Of and Close, so that they do not overlap
	users  map[string]int
}

func (t *tenants) enter(ctx context.Context, tenant string) (*adapter.Namespace, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ns, err := t.server.Of(ctx, "/"+tenant) // the same value until it is closed
	if err != nil {
		return nil, err // such as a name that came from a client and cannot be used
	}
	t.users[ns.Name()]++
	return ns, nil
}

func (t *tenants) leave(ctx context.Context, ns *adapter.Namespace) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users[ns.Name()]--; t.users[ns.Name()] > 0 {
		return nil
	}
	delete(t.users, ns.Name())
	return ns.Close(ctx)
}

func Example_namespaces() {
	ctx := context.Background()
	b := memorybroker.NewBus(nil).Broker()
	server, err := adapter.New(b, nil)
	if err != nil {
		log.Fatal(err)
	}
	t := &tenants{server: server, users: map[string]int{}}
	first, err := t.enter(ctx, "acme")
	if err != nil {
		log.Fatal(err)
	}
	second, err := t.enter(ctx, "acme")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("one namespace for both:", first == second)
	fmt.Println(t.leave(ctx, first), t.leave(ctx, second))
	fmt.Println("closed:", errors.Is(first.Emit(ctx, "hello"), backplane.ErrClosed))
	_, err = t.enter(ctx, "a,b") // a comma ends the name in Socket.IO packets
	var refused *backplane.NameError
	fmt.Println("refused:", errors.As(err, &refused))
	if err := errors.Join(server.Close(ctx), b.Close(ctx)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// one namespace for both: true
	// <nil> <nil>
	// closed: true
	// refused: true
}
