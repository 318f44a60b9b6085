// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"errors"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// startFiles starts a real store with a versioned bucket, and gives the client of its owner.
func startFiles(t *testing.T) (Config, *minio.Client) {
	t.Helper()
	port := freePort(t)
	run(t, port, []string{"MINIO_ROOT_USER=operator", "MINIO_ROOT_PASSWORD=a password", "MINIO_BROWSER=off", "MINIO_CI_CD=1",
		"MINIO_REGION=us-west-2"}, program(t, "minio"), "server", "--quiet", "--address", local(port), t.TempDir())
	owner, err := minio.New(local(port), &minio.Options{Creds: credentials.NewStaticV4("operator", "a password", "")})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		return owner.MakeBucket(t.Context(), "files", minio.MakeBucketOptions{Region: "us-west-2"}) == nil
	})
	if err := owner.EnableVersioning(t.Context(), "files"); err != nil {
		t.Fatal(err)
	}
	return Config{Service: "ai-service", Files: FilesConfig{
		Endpoint: "http://" + local(port), Bucket: "files", AccessKey: "operator", SecretKey: "a password",
	}}, owner
}

func TestFiles(t *testing.T) {
	config, owner := startFiles(t)
	files, err := OpenFiles(config, NewResolver(""))
	if err != nil {
		t.Fatal(err)
	}
	row := Row{ID: 7, Key: "k ä/1", Value: "what was asked"}
	for range 3 {
		if err := files.Writable(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	for left := range owner.ListObjects(t.Context(), "files", minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		t.Fatalf("to ask whether it is writable left %s", left.Key)
	}
	if found, err := files.Find(bounded(t), row); found != nil || err != nil {
		t.Fatalf("before it was kept: %v, %v", found, err)
	}
	kept, err := files.Keep(bounded(t), row)
	if err != nil || kept.(File).VersionID == "" || kept.(File).Size != int64(len(row.Value)) {
		t.Fatalf("%v, %v", kept, err)
	}
	if found, err := files.Find(bounded(t), row); found != kept || err != nil {
		t.Fatalf("%v instead of %v, %v", found, kept, err)
	}
	// Who may only read is not taken for one who may write.
	denied := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject","s3:GetBucketLocation"],"Resource":["arn:aws:s3:::files","arn:aws:s3:::files/*"]}]}`
	if err := owner.SetBucketPolicy(t.Context(), "files", denied); err != nil {
		t.Fatal(err)
	}
	config.Files.AccessKey, config.Files.SecretKey = "", ""
	reader, err := OpenFiles(config, NewResolver(""))
	if err != nil {
		t.Fatal(err)
	}
	if found, err := reader.Find(bounded(t), row); found != kept || err != nil {
		t.Fatalf("a reader finds %v, %v", found, err)
	}
	if err := reader.Writable(bounded(t)); !errors.Is(err, errClosed) {
		t.Fatalf("a reader may write: %v", err)
	}
}

func TestNoBucketIsNotWritable(t *testing.T) {
	config, _ := startFiles(t)
	config.Files.Bucket = "others"
	files, err := OpenFiles(config, NewResolver(""))
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Writable(bounded(t)); err == nil || errors.Is(err, errClosed) {
		t.Fatalf("it is called writable or closed: %v", err)
	}
}
