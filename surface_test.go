package crossroom_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSurface: the packages that every user meets stay small. A new exported name of theirs displaces another one, or goes
// into a package of its own: docs/decisions/0070-a-limit-for-the-surface.md.
func TestSurface(t *testing.T) {
	for dir, most := range map[string]struct{ types, methods int }{
		"backplane":         {32, 80},
		"backplane/observe": {24, 24},
		"adapter":           {36, 100},
	} {
		t.Run(dir, func(t *testing.T) {
			types, methods := exported(t, dir)
			assert.LessOrEqual(t, len(types), most.types, "exported types: %q", types)
			assert.LessOrEqual(t, len(methods), most.methods, "exported methods: %q", methods)
			assert.Greater(t, len(methods), most.methods/2, "methods that were found")
		})
	}
}

// exported returns the exported types of a package, and the exported methods of these.
func exported(t *testing.T, dir string) (types, methods []string) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil || !d.Name.IsExported() {
					continue
				}
				if of := receiver(d.Recv.List[0].Type); ast.IsExported(of) {
					methods = append(methods, of+"."+d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() {
						types = append(types, s.Name.Name)
					}
				}
			}
		}
	}
	return types, methods
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
