// Package graph has what gqlgen makes of schema.graphqls.
package graph
