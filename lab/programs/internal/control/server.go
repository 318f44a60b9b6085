// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package control is the supervisor's HTTP interface: JSON over a unix socket, for the lab's owner only.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"platform.recovery/lab/internal/process"
	"platform.recovery/lab/internal/sshhost"
)

const largestBody = 1 << 20

// Lab says whose lab this is.
type Lab struct {
	Name      string `json:"name"`
	State     string `json:"state"`
	PID       int    `json:"pid"`
	StartedAt string `json:"started_at"`
}

// Server answers the interface's requests.
type Server struct {
	Lab       Lab
	Processes *process.Registry
	Hosts     *sshhost.Registry
	Shutdown  func() error // ends all processes; the program exits after the answer
}

var errBadRequest = errors.New("bad request")

type handler func(*http.Request) (any, error)

// Handler routes the interface.
func (s *Server) Handler() http.Handler {
	routes := http.NewServeMux()
	for pattern, handle := range map[string]handler{
		"GET /v1/lab":                        s.lab,
		"GET /v1/processes":                  s.list,
		"GET /v1/processes/{id...}":          s.show,
		"PUT /v1/processes/{id...}":          s.define,
		"DELETE /v1/processes/{id...}":       s.remove,
		"POST /v1/processes/{command...}":    s.act,
		"GET /v1/hosts":                      s.listHosts,
		"PUT /v1/hosts/{region}/{server}":    s.openHost,
		"DELETE /v1/hosts/{region}/{server}": s.closeHost,
		"POST /v1/shutdown":                  s.shutdown,
	} {
		routes.Handle(pattern, answer(handle))
	}
	return ownerOnly(routes)
}

func answer(handle handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		request.Body = http.MaxBytesReader(response, request.Body, largestBody)
		result, err := handle(request)
		if err != nil {
			write(response, statusOf(err), map[string]string{"error": err.Error()})
			return
		}
		write(response, http.StatusOK, result)
	})
}

func write(response http.ResponseWriter, status int, body any) {
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(status)
	_ = json.NewEncoder(response).Encode(body) // the caller may have left; there is nobody else to tell
}

func statusOf(err error) int {
	conflicts := []error{process.ErrMasked, process.ErrRunning, process.ErrNotRunning, process.ErrClosing}
	for _, conflict := range conflicts {
		if errors.Is(err, conflict) {
			return http.StatusConflict
		}
	}
	switch {
	case errors.Is(err, process.ErrUnknown), errors.Is(err, sshhost.ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, process.ErrSpawn):
		return http.StatusUnprocessableEntity
	case errors.Is(err, errBadRequest):
		return http.StatusBadRequest
	default:
		return http.StatusInternalServerError
	}
}

func decode(request *http.Request, into any) error {
	decoder := json.NewDecoder(request.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	return nil
}

func (s *Server) lab(*http.Request) (any, error) { return s.Lab, nil }

func (s *Server) list(request *http.Request) (any, error) {
	return s.Processes.List(request.URL.Query().Get("memory") == "proportional")
}

func (s *Server) show(request *http.Request) (any, error) {
	found, err := s.Processes.Find(request.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return found.Status()
}

func (s *Server) define(request *http.Request) (any, error) {
	var wanted process.Definition
	if err := decode(request, &wanted); err != nil {
		return nil, err
	}
	found, err := s.Processes.Define(request.PathValue("id"), wanted)
	if err != nil {
		return nil, invalid(err)
	}
	return found.Status()
}

// invalid marks an error that is not about the process's state as the caller's.
func invalid(err error) error {
	if errors.Is(err, process.ErrRunning) || errors.Is(err, process.ErrClosing) {
		return err
	}
	return fmt.Errorf("%w: %w", errBadRequest, err)
}

func (s *Server) remove(request *http.Request) (any, error) {
	id := request.PathValue("id")
	return map[string]string{"removed": id}, s.Processes.Remove(id)
}

var verbs = map[string]func(*process.Process) error{
	"start":  (*process.Process).Start,
	"stop":   (*process.Process).Stop,
	"kill":   (*process.Process).Kill,
	"freeze": (*process.Process).Freeze,
	"thaw":   (*process.Process).Thaw,
	"mask":   (*process.Process).Mask,
	"unmask": (*process.Process).Unmask,
}

// act takes /<id>/<verb>; an id has slashes of its own.
func (s *Server) act(request *http.Request) (any, error) {
	command := request.PathValue("command")
	cut := strings.LastIndexByte(command, '/')
	if cut < 0 {
		return nil, fmt.Errorf("%w: wanted /v1/processes/<id>/<verb>", errBadRequest)
	}
	apply, known := verbs[command[cut+1:]]
	if !known {
		return nil, fmt.Errorf("%w: unknown verb %q", errBadRequest, command[cut+1:])
	}
	found, err := s.Processes.Find(command[:cut])
	if err != nil {
		return nil, err
	}
	if err := apply(found); err != nil {
		return nil, err
	}
	return found.Status()
}

func (s *Server) listHosts(*http.Request) (any, error) { return s.Hosts.List(), nil }

func (s *Server) openHost(request *http.Request) (any, error) {
	var wanted sshhost.Definition
	if err := decode(request, &wanted); err != nil {
		return nil, err
	}
	if err := s.Hosts.Open(hostName(request), wanted); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	return wanted, nil
}

func (s *Server) closeHost(request *http.Request) (any, error) {
	name := hostName(request)
	return map[string]string{"removed": name}, s.Hosts.Close(name)
}

func hostName(request *http.Request) string {
	return request.PathValue("region") + "/" + request.PathValue("server")
}

func (s *Server) shutdown(*http.Request) (any, error) {
	return map[string]string{"shutdown": "done"}, s.Shutdown()
}
